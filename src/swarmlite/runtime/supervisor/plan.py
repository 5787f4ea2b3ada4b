"""What the child of a start will do, decided by the parent: a spec read once into flags and bytes.

Nothing here changes anything. A wrong spec raises InvalidSpec before a process or cgroup is made;
what needs a host's powers that are missing raises FailedPrecondition, which says so.
"""

from __future__ import annotations

import os

from swarmlite import errors
from swarmlite.kernel import mounting
from swarmlite.runtime import lean
from swarmlite.runtime.oci import mounts
from swarmlite.runtime.oci.namespaces import Namespaces
from swarmlite.runtime.oci.validate import validate_spec
from swarmlite.runtime.seccomp.cache import Cache
from swarmlite.runtime.supervisor.process_plan import HostPowers, ProcessPlan

__all__ = ["HostPowers", "Plan", "ProcessPlan"]

PROPAGATION = {
    "private": mounting.MS_PRIVATE,
    "slave": mounting.MS_SLAVE,
    "shared": mounting.MS_SHARED,
    "unbindable": mounting.MS_UNBINDABLE,
}
EVERY_CAPABILITY = -1


class Plan:
    """A whole container.

    `process` is None for a spec without one, which can be created and never started. `begins`:
    whether it does not wait for its start. `warnings`: what the spec asks for and is left out.
    `allowed_system_mounts`: places in /proc, /sys and /dev that mounts may take, None for all that
    the spec names.
    """

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
        self.warnings: list[str] = []
        self.begins = False
        self.container_id = container_id
        self.hooks: dict = spec.get("hooks") or {}  # type: ignore[type-arg]
        self.cgroup_path: str = linux.get("cgroupsPath") or f"/swarmlite/{container_id}"
        self.resources: dict[str, object] = linux.get("resources") or {}
        self.namespaces = Namespaces(linux)
        self.root = os.fsencode(os.path.join(bundle, spec["root"]["path"]))  # noqa: PTH118
        self.readonly = bool(spec["root"].get("readonly"))
        self.overlay = os.fsencode(annotations.get("swarmlite.overlay", ""))
        self.overlay_idmap = annotations.get("swarmlite.overlay-idmap") == "true"
        self.init = annotations.get("swarmlite.init") == "true"
        self.mounts = [
            mounts.Mount(mount, f"mounts[{index}]", bundle)
            for index, mount in enumerate(spec.get("mounts") or [])
        ]
        for mount in self.mounts:
            self.warnings += mount.warnings
        self.allowed_system_mounts = _system_mounts(annotations.get("swarmlite.system-mounts"))
        self.root_propagation = _root_propagation(linux.get("rootfsPropagation"))
        self.devices: list[dict[str, object]] = linux.get("devices") or []
        self.masked = [os.fsencode(path) for path in linux.get("maskedPaths") or []]
        self.readonly_paths = [os.fsencode(path) for path in linux.get("readonlyPaths") or []]
        self.sysctl = [
            (name.replace(".", "/"), str(value).encode())
            for name, value in (linux.get("sysctl") or {}).items()
        ]
        self.hostname = os.fsencode(spec.get("hostname") or "")
        self.domainname = os.fsencode(spec.get("domainname") or "")
        self._names()
        self._without_mounts()
        self.process: ProcessPlan | None = None
        self.filtered_init = self.filtered_late_birth = False
        if spec.get("process") is not None:
            self._process(spec["process"], powers, filters, linux, annotations)
        if linux.get("mountLabel") and not os.path.exists("/sys/fs/selinux/enforce"):  # noqa: PTH110
            self.warnings.append("linux.mountLabel: this host has no SELinux")

    @property
    def own_pid_namespace(self) -> bool:
        """Whether its first process is pid 1, whose end the kernel makes everybody's."""
        return "pid" in self.namespaces.new

    @property
    def staged(self) -> bool:
        """Whether who is cloned only prepares, and has a sibling that is the container's."""
        spaces = self.namespaces
        return bool({"user", "time"} & spaces.new or {"user", "pid", "time"} & spaces.joined)

    @property
    def clone_flags(self) -> int:
        """Namespaces that the first process is born into: none when it only prepares."""
        if self.staged:
            return 0
        # the cgroup namespace is unshared in its cgroup, which becomes the namespace's root
        return self.namespaces.flags("cgroup")

    def _names(self) -> None:
        if not self.namespaces.own("uts"):
            for name in ("hostname", "domainname"):
                if getattr(self, name):
                    self.warnings.append(f"{name}: left as it is without a uts namespace")
            self.hostname = self.domainname = b""

    def _without_mounts(self) -> None:
        """In a mount namespace that is not new nothing is mounted: it would be others' as well."""
        if "mount" in self.namespaces.new:
            return
        left_out = {
            "mounts": self.mounts, "linux.maskedPaths": self.masked,
            "linux.readonlyPaths": self.readonly_paths, "linux.devices": self.devices,
        }  # fmt: skip
        for name, value in left_out.items():
            if value:
                self.warnings.append(f"{name}: left out without a new mount namespace")

    def _process(
        self,
        process: dict,  # type: ignore[type-arg]
        powers: HostPowers,
        filters: Cache,
        linux: dict,  # type: ignore[type-arg]
        annotations: dict,  # type: ignore[type-arg]
    ) -> None:
        own_users = self.namespaces.own("user")
        self.process = ProcessPlan(process, powers, filters, linux, annotations, own_users)
        self.warnings += self.process.warnings
        if self.init:
            self.filtered_init = self.process.filtered_at_birth(self.process.bounding)
        if "pid" in self.namespaces.joined:
            # whoever lives in that namespace may have been given anything
            self.filtered_late_birth = self.process.filtered_at_birth(EVERY_CAPABILITY)


def _system_mounts(text: str | None) -> set[str] | None:
    """From the annotation: a JSON list of places."""
    if text is None:
        return None
    try:
        places = lean.loads(text)
    except ValueError as error:
        raise errors.InvalidSpec(f"annotation swarmlite.system-mounts: {error}") from error
    if not isinstance(places, list):
        raise errors.InvalidSpec("annotation swarmlite.system-mounts: must be a list")
    return {str(place) for place in places}


def _root_propagation(word: str | None) -> int:
    """Flags of mount(2), 0 when nothing was asked for."""
    if not word:
        return 0
    if word in PROPAGATION:
        return PROPAGATION[word]
    if word.removeprefix("r") not in PROPAGATION:
        raise errors.InvalidSpec(f"linux.rootfsPropagation: {word!r}")
    return PROPAGATION[word.removeprefix("r")] | mounting.MS_REC
