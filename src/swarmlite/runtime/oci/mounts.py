"""The words of mount options: which are attributes, which propagation, which the file system's."""

from __future__ import annotations

from swarmlite import errors

RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
ATIME_MASK, NOATIME, STRICTATIME, NODIRATIME = 0x70, 0x10, 0x20, 0x80
#: word -> (set, clear), bits of mount_setattr(2)
ATTRIBUTES = {
    "ro": (RDONLY, 0), "rw": (0, RDONLY), "nosuid": (NOSUID, 0), "suid": (0, NOSUID),
    "nodev": (NODEV, 0), "dev": (0, NODEV), "noexec": (NOEXEC, 0), "exec": (0, NOEXEC),
    "noatime": (NOATIME, ATIME_MASK), "relatime": (0, ATIME_MASK), "atime": (0, ATIME_MASK),
    "strictatime": (STRICTATIME, ATIME_MASK), "nodiratime": (NODIRATIME, 0),
    "diratime": (0, NODIRATIME), "rro": (RDONLY, 0),
}  # fmt: skip
_PRIVATE, _SLAVE, _SHARED, _UNBINDABLE = 1 << 18, 1 << 19, 1 << 20, 1 << 17
PROPAGATION = {
    "private": _PRIVATE, "rprivate": _PRIVATE, "slave": _SLAVE, "rslave": _SLAVE,
    "shared": _SHARED, "rshared": _SHARED, "unbindable": _UNBINDABLE, "runbindable": _UNBINDABLE,
}  # fmt: skip
IGNORED = {"defaults", "async", "sync", "newinstance", "nofail", "silent"}
FILESYSTEMS = {"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "bind", "none"}


class Mount:
    """One mount of a spec, its words already understood.

    `attributes` and `clear` are bits of mount_setattr(2), `data` what the file system is given.
    """

    __slots__ = (
        "attributes", "clear", "data", "destination", "kind", "propagation", "recursive", "source",
    )  # fmt: skip

    def __init__(self, mount: dict, where: str, bundle: str) -> None:  # type: ignore[type-arg]
        options = mount.get("options") or []
        self.destination = destination(mount.get("destination"), where)
        self.kind = mount.get("type") or "none"
        self.attributes = self.clear = self.propagation = 0
        self.recursive = "rbind" in options
        self.data: list[tuple[bytes, bytes | None]] = []
        if "bind" in options or self.recursive:
            self.kind = "bind"
        if self.kind not in FILESYSTEMS or self.kind == "none":
            raise errors.InvalidSpec(f"{where}.type: {self.kind!r} is not supported")
        source = mount.get("source") or ""
        if self.kind == "bind" and not source:
            raise errors.InvalidSpec(f"{where}.source: a bind mount needs one")
        if self.kind == "bind" and not source.startswith("/"):
            source = f"{bundle}/{source}"
        self.source = source.encode()
        for option in options:
            self._option(option, where)

    def _option(self, option: str, where: str) -> None:
        if option in ATTRIBUTES:
            set_, clear = ATTRIBUTES[option]
            self.clear = (self.clear | clear) & ~set_
            self.attributes = (self.attributes & ~clear) | set_
        elif option in PROPAGATION:
            self.propagation = PROPAGATION[option]
        elif option in IGNORED or option in ("bind", "rbind"):
            pass
        elif self.kind == "bind":
            raise errors.InvalidSpec(f"{where}.options: {option!r} is not an option of a bind")
        else:
            key, equals, value = option.partition("=")
            self.data.append((key.encode(), value.encode() if equals else None))


def destination(path: object, where: str) -> str:
    """A mount's place, absolute and without `.` and `..`; raises InvalidSpec."""
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        raise errors.InvalidSpec(f"{where}.destination: {path!r} is not an absolute path")
    parts = [part for part in path.split("/") if part and part != "."]
    if ".." in parts:
        raise errors.InvalidSpec(f"{where}.destination: {path!r} must not contain '..'")
    if not parts:
        raise errors.InvalidSpec(f"{where}.destination: nothing can be mounted over /")
    return "/" + "/".join(parts)
