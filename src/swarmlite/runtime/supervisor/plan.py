"""What a child will do, decided by the parent: a spec read once into flags, masks and bytes.

Nothing here changes anything. A wrong spec raises InvalidSpec before a process or cgroup is made;
what needs a host's powers that are missing raises FailedPrecondition, which says so.
"""

from __future__ import annotations

import os
import resource

from swarmlite import errors
from swarmlite.kernel import namespaces
from swarmlite.runtime.oci import capabilities, mounts
from swarmlite.runtime.oci.validate import validate_process, validate_spec
from swarmlite.runtime.seccomp.cache import Cache, Filter

NAMESPACE_FLAGS = {
    "mount": namespaces.CLONE_NEWNS,
    "uts": namespaces.CLONE_NEWUTS,
    "ipc": namespaces.CLONE_NEWIPC,
    "pid": namespaces.CLONE_NEWPID,
    "network": namespaces.CLONE_NEWNET,
    "cgroup": namespaces.CLONE_NEWCGROUP,
}
CAP_SYS_PTRACE = 1 << capabilities.NUMBERS["CAP_SYS_PTRACE"]
CAP_SYS_ADMIN = 1 << capabilities.NUMBERS["CAP_SYS_ADMIN"]


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
    """One process inside a container: who it is, what it may do, what it runs."""

    def __init__(
        self,
        process: dict,  # type: ignore[type-arg]
        powers: HostPowers,
        filters: Cache,
        linux: dict,  # type: ignore[type-arg]
        annotations: dict,  # type: ignore[type-arg]
    ) -> None:
        validate_process(process)
        self.args = [os.fsencode(arg) for arg in process["args"]]
        self.env = [os.fsencode(entry) for entry in process.get("env") or []]
        self.cwd = os.fsencode(process.get("cwd") or "/")
        user = process.get("user") or {}
        self.username: str | None = user.get("username")
        self.uid, self.gid = user.get("uid", 0), user.get("gid", 0)
        self.gids: list[int] = list(user.get("additionalGids") or [])
        self.groups = [str(group) for group in user.get("additionalGroups") or []]
        self.umask = user.get("umask", 0o022)
        self.terminal = bool(process.get("terminal"))
        self.console_size = process.get("consoleSize") or {}
        self.no_new_privs = bool(process.get("noNewPrivileges"))
        self._capabilities(process.get("capabilities") or {}, powers)
        self.rlimits = [_rlimit(limit, powers) for limit in process.get("rlimits") or []]
        score = process.get("oomScoreAdj")
        if (
            score is not None
            and score < powers.oom_score_adj
            and not powers.has("CAP_SYS_RESOURCE")
        ):
            raise errors.FailedPrecondition(
                f"process.oomScoreAdj: {score} is below this host's {powers.oom_score_adj}, "
                "which needs CAP_SYS_RESOURCE, and root here has not got it"
            )
        self.oom_score_adj = 0 if score is None and powers.oom_score_adj < 0 else score
        self.filter = _filter(linux, annotations, process, filters)
        self.last_cap = powers.last_cap

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

    def _capabilities(self, sets: dict, powers: HostPowers) -> None:  # type: ignore[type-arg]
        known = (1 << powers.last_cap + 1) - 1
        masks = {
            kind: capabilities.mask(sets.get(kind) or []) & known
            for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")
        }
        missing = masks["bounding"] & ~powers.caps
        if missing:
            names = ", ".join(
                n for n, number in capabilities.NUMBERS.items() if missing >> number & 1
            )
            raise errors.FailedPrecondition(
                f"process.capabilities: root on this host has not got {names} to give"
            )
        self.bounding, self.effective = masks["bounding"], masks["effective"]
        self.permitted, self.inheritable = masks["permitted"], masks["inheritable"]
        self.ambient = masks["ambient"]


def _rlimit(limit: dict, powers: HostPowers) -> tuple[int, int, int]:  # type: ignore[type-arg]
    name = str(limit.get("type", ""))
    number = getattr(resource, name, None) if name.startswith("RLIMIT_") else None
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
            "needs CAP_SYS_RESOURCE, and root here has not got it"
        )
    return number, soft, hard


def _filter(linux: dict, annotations: dict, process: dict, filters: Cache) -> Filter | None:  # type: ignore[type-arg]
    if linux.get("seccomp"):
        return filters.oci(linux["seccomp"])
    kind = annotations.get("swarmlite.seccomp", "unconfined")
    if kind == "unconfined":
        return None
    if kind != "default":
        raise errors.InvalidSpec(
            f"annotation swarmlite.seccomp: {kind!r} is not a built-in profile"
        )
    return filters.default((process.get("capabilities") or {}).get("bounding") or [])


class Plan:
    """A whole container."""

    def __init__(
        self,
        container_id: str,
        bundle: str,
        spec: dict,  # type: ignore[type-arg]
        powers: HostPowers,
        filters: Cache,
    ) -> None:
        validate_spec(spec)
        linux, annotations = spec["linux"], spec.get("annotations") or {}
        self.container_id = container_id
        self.cgroup_path: str = linux.get("cgroupsPath") or f"/swarmlite/{container_id}"
        self.resources: dict[str, object] = linux.get("resources") or {}
        self.clone_flags = 0
        self.joins: list[tuple[str, int]] = []
        self.own_cgroup_namespace = False
        for namespace in linux.get("namespaces") or []:
            self._namespace(namespace["type"], namespace.get("path"))
        self.own_pid_namespace = bool(self.clone_flags & namespaces.CLONE_NEWPID)
        self.root = os.fsencode(os.path.join(bundle, spec["root"]["path"]))  # noqa: PTH118
        self.readonly = bool(spec["root"].get("readonly"))
        self.overlay = os.fsencode(annotations.get("swarmlite.overlay", ""))
        self.init = annotations.get("swarmlite.init") == "true"
        self.mounts = [
            mounts.Mount(mount, f"mounts[{index}]", bundle)
            for index, mount in enumerate(spec.get("mounts") or [])
        ]
        self.devices: list[dict[str, object]] = linux.get("devices") or []
        self.masked = [os.fsencode(path) for path in linux.get("maskedPaths") or []]
        self.readonly_paths = [os.fsencode(path) for path in linux.get("readonlyPaths") or []]
        self.sysctl = [
            (name.replace(".", "/"), str(value).encode())
            for name, value in (linux.get("sysctl") or {}).items()
        ]
        self.hostname = os.fsencode(spec.get("hostname") or "")
        self.domainname = os.fsencode(spec.get("domainname") or "")
        self.process = ProcessPlan(spec["process"], powers, filters, linux, annotations)
        self.filtered_init = self.init and self.process.filtered_at_birth(self.process.bounding)

    def _namespace(self, kind: str, path: str | None) -> None:
        flag = NAMESPACE_FLAGS[kind]
        if path and kind in ("mount", "pid", "cgroup"):
            raise errors.InvalidSpec(f"linux.namespaces: joining a {kind} namespace by path")
        if path:
            self.joins.append((path, flag))
        elif kind == "cgroup":
            # unshared by the child, once it is in its cgroup: that becomes the namespace's root
            self.own_cgroup_namespace = True
        else:
            self.clone_flags |= flag
