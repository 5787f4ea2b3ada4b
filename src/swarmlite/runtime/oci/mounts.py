"""The words of mount options: which are attributes, which propagation, which the file system's."""

from __future__ import annotations

from swarmlite import errors
from swarmlite.runtime.oci.namespaces import id_map

RDONLY, NOSUID, NODEV, NOEXEC, NOSYMFOLLOW = 1, 2, 4, 8, 0x200000
ATIME_MASK, NOATIME, STRICTATIME, NODIRATIME = 0x70, 0x10, 0x20, 0x80
#: word -> (set, clear), bits of mount_setattr(2); with an `r` before it, of the mounts below too
ATTRIBUTES = {
    "ro": (RDONLY, 0), "rw": (0, RDONLY), "nosuid": (NOSUID, 0), "suid": (0, NOSUID),
    "nodev": (NODEV, 0), "dev": (0, NODEV), "noexec": (NOEXEC, 0), "exec": (0, NOEXEC),
    "noatime": (NOATIME, ATIME_MASK), "relatime": (0, ATIME_MASK), "atime": (0, ATIME_MASK),
    "strictatime": (STRICTATIME, ATIME_MASK), "nodiratime": (NODIRATIME, 0),
    "diratime": (0, NODIRATIME), "norelatime": (0, 0), "nostrictatime": (0, ATIME_MASK),
    "symfollow": (0, NOSYMFOLLOW), "nosymfollow": (NOSYMFOLLOW, 0),
}  # fmt: skip
_PRIVATE, _SLAVE, _SHARED, _UNBINDABLE = 1 << 18, 1 << 19, 1 << 20, 1 << 17
PROPAGATION = {
    "private": _PRIVATE, "rprivate": _PRIVATE, "slave": _SLAVE, "rslave": _SLAVE,
    "shared": _SHARED, "rshared": _SHARED, "unbindable": _UNBINDABLE, "runbindable": _UNBINDABLE,
}  # fmt: skip
IGNORED = {
    "defaults", "async", "newinstance", "nofail", "silent", "loud", "bind", "rbind", "nomand",
    "auto", "noauto", "user", "nouser", "_netdev", "noiversion", "nolazytime",
}  # fmt: skip
#: Words of the file system as a whole: a bind mount has no say in them.
OF_THE_FILESYSTEM = {"sync", "dirsync", "mand", "lazytime", "iversion"}
#: As of mount(8): what is below this directory of the file system, and not all of it.
SUBDIR = "X-mount.subdir"
VIRTUAL = {"proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"}


class Mount:
    """One mount of a spec, its words already understood.

    `attributes` and `clear` are bits of mount_setattr(2), `deep` and `deep_clear` those for the
    whole tree, `data` what the file system is given. `maps`: ids that the mount shows otherwise, as
    (uid_map, gid_map), or None; `idmap`: by the container's own user namespace; `subdir`: the
    directory of a new file system that is mounted, its root if empty.
    """

    __slots__ = (
        "attributes", "clear", "data", "deep", "deep_clear", "destination", "idmap", "kind", "maps",
        "propagation", "propagation_deep", "recursive", "recursive_idmap", "source", "subdir",
        "warnings",
    )  # fmt: skip

    def __init__(self, mount: dict, where: str, bundle: str) -> None:  # type: ignore[type-arg]
        options = mount.get("options") or []
        self.destination = destination(mount.get("destination"), where)
        self.kind = mount.get("type") or "none"
        self.attributes = self.clear = self.deep = self.deep_clear = self.propagation = 0
        self.propagation_deep = self.idmap = self.recursive_idmap = False
        self.warnings: list[str] = []
        self.recursive = "rbind" in options
        self.subdir = b""
        self.data: list[tuple[bytes, bytes | int | None]] = []
        if "bind" in options or self.recursive:
            self.kind = "bind"
        if self.kind == "none" or not all(c.isalnum() or c in "._-" for c in self.kind):
            raise errors.InvalidSpec(f"{where}.type: {self.kind!r} is not a file system")
        source = mount.get("source") or ""
        if self.kind == "bind" and not source:
            raise errors.InvalidSpec(f"{where}.source: a bind mount needs one")
        if self.kind == "bind" and not source.startswith("/"):
            source = f"{bundle}/{source}"
        self.source = source.encode() or self.kind.encode()
        for option in options:
            self._option(option, where)
        if self.attributes & RDONLY and self.kind not in {*VIRTUAL, "bind"}:
            self.data.append((b"ro", None))  # the file system too: its device may be read-only
        self.maps: tuple[str, str] | None = None
        if mount.get("uidMappings") or mount.get("gidMappings"):
            self.maps = (
                id_map(mount.get("uidMappings") or [], f"{where}.uidMappings"),
                id_map(mount.get("gidMappings") or [], f"{where}.gidMappings"),
            )
            self.idmap = True

    def _option(self, option: str, where: str) -> None:
        if option in ATTRIBUTES:
            self.attributes, self.clear = _combine(option, self.attributes, self.clear)
        elif option[:1] == "r" and option[1:] in ATTRIBUTES:
            self.deep, self.deep_clear = _combine(option[1:], self.deep, self.deep_clear)
        elif option in PROPAGATION:
            self.propagation = PROPAGATION[option]
            self.propagation_deep = option.startswith("r")
        elif option in ("idmap", "ridmap"):
            self.idmap = True
            self.recursive_idmap = option == "ridmap"
        elif option in IGNORED:
            pass
        elif self.kind == "bind" and "=" in option:
            self.warnings.append(f"{where}.options: {option!r} has no effect on a bind")
        elif self.kind == "bind":
            raise errors.InvalidSpec(f"{where}.options: {option!r} is not an option of a bind")
        elif option in OF_THE_FILESYSTEM:
            self.data.append((option.encode(), None))
        else:
            key, equals, value = option.partition("=")
            if key == SUBDIR:
                self.subdir = value.encode()
                return
            self.data.append((key.encode(), value.encode() if equals else None))


def _combine(word: str, attributes: int, cleared: int) -> tuple[int, int]:
    """What is set and cleared once `word` is added: the last word on a matter counts."""
    set_, clear = ATTRIBUTES[word]
    return (attributes & ~clear) | set_, (cleared | clear) & ~(set_ & ~ATIME_MASK)


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
