"""What one process inside a container will be: who it is, what it may do, what it runs.

Decided by the parent before anything is made. A wrong spec raises InvalidSpec; what needs powers
of the host that are missing raises FailedPrecondition, or is left out with a warning where the
specification wants that.
"""

from __future__ import annotations

import os
import resource

from swarmlite import errors
from swarmlite.kernel import scheduling
from swarmlite.runtime.oci import capabilities
from swarmlite.runtime.oci.validate import validate_process
from swarmlite.runtime.seccomp.cache import Cache, Filter

CAP_SYS_PTRACE = 1 << capabilities.NUMBERS["CAP_SYS_PTRACE"]
CAP_SYS_ADMIN = 1 << capabilities.NUMBERS["CAP_SYS_ADMIN"]
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
RLIMITS = {
    **{name: number for name, number in vars(resource).items() if name.startswith("RLIMIT_")},
    "RLIMIT_LOCKS": 10,  # resource does not name it
}


class HostPowers:
    """What this process may do, read once: its capabilities and the last that the kernel knows."""

    def __init__(self) -> None:
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:  # noqa: PTH123
            self.last_cap = int(file.read())
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        self.caps = int(fields["CapEff"], 16)
        with open("/proc/self/oom_score_adj", encoding="ascii") as file:  # noqa: PTH123
            self.oom_score_adj = int(file.read())

    def has(self, name: str) -> bool:
        """Whether the effective set holds a capability."""
        return bool(self.caps >> capabilities.NUMBERS[name] & 1)


class ProcessPlan:
    """One process, of a container or of an exec.

    `warnings`: what was asked for and is left out. `own_user_namespace`: it then gets capabilities
    there, whatever root on the host has. `preserved` descriptors from 3 on are the caller's gift.
    """

    def __init__(
        self,
        process: dict,  # type: ignore[type-arg]
        powers: HostPowers,
        filters: Cache,
        linux: dict,  # type: ignore[type-arg]
        annotations: dict,  # type: ignore[type-arg]
        own_user_namespace: bool = False,
    ) -> None:
        validate_process(process)
        self.warnings: list[str] = []
        self.preserved = 0
        self.args = [os.fsencode(arg) for arg in process["args"]]
        self.env = [os.fsencode(entry) for entry in process.get("env") or []]
        self.cwd = os.fsencode(process.get("cwd") or "/")
        user = process.get("user") or {}
        self.username: str | None = user.get("username")
        self.uid, self.gid = user.get("uid", 0), user.get("gid", 0)
        self.gids: list[int] = list(user.get("additionalGids") or [])
        self.groups = [str(group) for group in user.get("additionalGroups") or []]
        umask = user.get("umask")
        self.umask = 0o022 if umask is None else int(umask)
        self.terminal = bool(process.get("terminal"))
        self.console_size = process.get("consoleSize") or {}
        self.no_new_privs = bool(process.get("noNewPrivileges"))
        known = (1 << powers.last_cap + 1) - 1
        self._capabilities(
            process.get("capabilities") or {}, known if own_user_namespace else powers.caps
        )
        self.rlimits = [_rlimit(limit, powers) for limit in process.get("rlimits") or []]
        self.oom_score_adj: int | None = process.get("oomScoreAdj")
        if self.oom_score_adj is None and powers.oom_score_adj < 0:
            self.oom_score_adj = 0  # our own protection is not the container's
        self.filter = _filter(linux, annotations, process, filters)
        self.last_cap = powers.last_cap
        self.io_priority = _io_priority(process.get("ioPriority") or {})
        self.scheduler = _scheduler(process.get("scheduler") or {})
        self.personality = _personality(linux.get("personality") or {})
        self.security_labels = _labels(process)

    def filtered_at_birth(self, others: int) -> bool:
        """Whether the filter is in force before the process appears among others.

        `others`: the capabilities that those may have. Until the filter is in force the process
        holds more than it will, so that who may trace it would gain that. Raises FailedPrecondition
        where neither order is safe.
        """
        if self.filter is None:
            return False
        if self.filter.lets_fork and (self.no_new_privs or self.filter.lets_drop):
            return True
        if others & CAP_SYS_PTRACE:
            raise errors.FailedPrecondition(
                "linux.seccomp: a profile without clone and capset cannot be put in force unseen "
                "beside processes with CAP_SYS_PTRACE: allow both calls, or leave that out"
            )
        return False

    def _capabilities(self, sets: dict, possible: int) -> None:  # type: ignore[type-arg]
        """As far as there are any to give: the rest is left out, and said."""
        masks, unknown, missing = {}, set(), 0
        for kind in SETS:
            bits, strange = capabilities.split(sets.get(kind) or [])
            unknown.update(strange)
            missing |= bits & ~possible
            masks[kind] = bits & possible
        if unknown:
            self.warnings.append(f"process.capabilities: unknown: {', '.join(sorted(unknown))}")
        if missing:
            names = capabilities.named(missing)
            self.warnings.append(f"process.capabilities: root on this host lacks {names}")
        lacking = masks["ambient"] & ~(masks["permitted"] & masks["inheritable"])
        if lacking:
            names = capabilities.named(lacking)
            self.warnings.append(
                f"process.capabilities.ambient: {names} must be permitted and inheritable as well"
            )
        self.bounding, self.effective = masks["bounding"], masks["effective"]
        self.permitted, self.inheritable = masks["permitted"], masks["inheritable"]
        self.ambient = masks["ambient"] & ~lacking


def _rlimit(limit: dict, powers: HostPowers) -> tuple[int, int, int]:  # type: ignore[type-arg]
    name = str(limit.get("type", ""))
    number = RLIMITS.get(name)
    if number is None:
        raise errors.InvalidSpec(f"process.rlimits: there is no {name!r}")
    soft, hard = (
        resource.RLIM_INFINITY if value < 0 or value >= 2**63 else value
        for value in (int(limit.get("soft", 0)), int(limit.get("hard", 0)))
    )
    ours = resource.getrlimit(number)[1]
    raises = ours != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or hard > ours)
    if raises and not powers.has("CAP_SYS_RESOURCE"):
        raise errors.FailedPrecondition(
            f"process.rlimits: {name} {hard} is above this host's hard limit of {ours}, which "
            "needs CAP_SYS_RESOURCE, and root lacks it here"
        )
    return number, soft, hard


def _filter(linux: dict, annotations: dict, process: dict, filters: Cache) -> Filter | None:  # type: ignore[type-arg]
    if linux.get("seccomp"):
        return filters.oci(linux["seccomp"])
    kind = annotations.get("swarmlite.seccomp", "unconfined")
    if kind == "unconfined":
        return None
    if kind != "default":
        raise errors.InvalidSpec(f"annotation swarmlite.seccomp: unknown profile {kind!r}")
    return filters.default((process.get("capabilities") or {}).get("bounding") or [])


def _io_priority(wanted: dict) -> tuple[int, int] | None:  # type: ignore[type-arg]
    if not wanted:
        return None
    io_class = scheduling.IO_CLASSES.get(str(wanted.get("class")))
    priority = int(wanted.get("priority") or 0)
    if io_class is None or not 0 <= priority <= 7:
        raise errors.InvalidSpec(
            f"process.ioPriority: class {wanted.get('class')!r}, priority {priority} (0 to 7)"
        )
    return io_class, priority


def _scheduler(wanted: dict) -> tuple[int, int, int, int, int, int, int] | None:  # type: ignore[type-arg]
    """The arguments of scheduling.set_scheduler."""
    if not wanted:
        return None
    policy = scheduling.POLICIES.get(str(wanted.get("policy")))
    if policy is None:
        raise errors.InvalidSpec(f"process.scheduler: unknown policy {wanted.get('policy')!r}")
    flags = 0
    for flag in wanted.get("flags") or []:
        if flag not in scheduling.FLAGS:
            raise errors.InvalidSpec(f"process.scheduler: unknown flag {flag!r}")
        flags |= scheduling.FLAGS[flag]
    nice, priority, runtime, deadline, period = (
        int(wanted.get(key) or 0) for key in ("nice", "priority", "runtime", "deadline", "period")
    )
    return policy, flags, nice, priority, runtime, deadline, period


def _personality(wanted: dict) -> int | None:  # type: ignore[type-arg]
    if not wanted:
        return None
    domain = scheduling.DOMAINS.get(str(wanted.get("domain")))
    if domain is None or wanted.get("flags"):
        raise errors.InvalidSpec(f"linux.personality: {wanted!r} is not supported")
    return domain


def _labels(process: dict) -> list[tuple[str, bytes]]:  # type: ignore[type-arg]
    """Files of /proc/thread-self/attr and what to write there before exec."""
    result: list[tuple[str, bytes]] = []
    profile = process.get("apparmorProfile")
    if profile:
        if not os.path.exists("/sys/kernel/security/apparmor"):  # noqa: PTH110
            raise errors.FailedPrecondition(
                f"process.apparmorProfile: {profile!r}, and this host has no AppArmor"
            )
        result.append(("apparmor/exec", f"exec {profile}".encode()))
    label = process.get("selinuxLabel")
    if label:
        if not os.path.exists("/sys/fs/selinux/enforce"):  # noqa: PTH110
            raise errors.FailedPrecondition(
                f"process.selinuxLabel: {label!r}, and this host has no SELinux"
            )
        result.append(("exec", label.encode()))
    return result
