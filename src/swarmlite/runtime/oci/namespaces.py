"""`linux.namespaces` and what goes with them: which are new, joined by path, or the runtime's own.

A kind that the spec does not name is inherited, as the specification has it.
"""

from __future__ import annotations

from swarmlite import errors
from swarmlite.kernel import namespaces as kernel

FLAGS = {
    "user": kernel.CLONE_NEWUSER,
    "mount": kernel.CLONE_NEWNS,
    "uts": kernel.CLONE_NEWUTS,
    "ipc": kernel.CLONE_NEWIPC,
    "pid": kernel.CLONE_NEWPID,
    "network": kernel.CLONE_NEWNET,
    "cgroup": kernel.CLONE_NEWCGROUP,
    "time": kernel.CLONE_NEWTIME,
}
CLOCKS = {"monotonic": 1, "boottime": 7}


class Namespaces:
    """`new` and `joined` are kinds; `paths` where the joined ones are.

    `uid_map`, `gid_map`: of a new user namespace, as /proc/PID/uid_map takes them. `clocks`: lines
    for /proc/self/timens_offsets.
    """

    def __init__(self, linux: dict) -> None:  # type: ignore[type-arg]
        self.new: set[str] = set()
        self.paths: dict[str, str] = {}
        for namespace in linux.get("namespaces") or []:
            kind, path = namespace["type"], namespace.get("path")
            if path and not str(path).startswith("/"):
                raise errors.InvalidSpec(f"linux.namespaces: {path!r} is not an absolute path")
            if path:
                self.paths[kind] = path
            else:
                self.new.add(kind)
        self.joined = set(self.paths)
        self.uid_map, self.gid_map = self._maps(linux)
        self.clocks = self._clocks(linux.get("timeOffsets") or {})

    def _maps(self, linux: dict) -> tuple[str, str]:  # type: ignore[type-arg]
        uids, gids = linux.get("uidMappings") or [], linux.get("gidMappings") or []
        if "user" not in self.new and "user" not in self.joined and (uids or gids):
            raise errors.InvalidSpec("linux.uidMappings: only with a user namespace")
        if "user" in self.new and not (uids and gids):
            raise errors.InvalidSpec("linux.uidMappings, gidMappings: a user namespace needs both")
        return id_map(uids, "linux.uidMappings"), id_map(gids, "linux.gidMappings")

    def _clocks(self, offsets: dict) -> bytes:  # type: ignore[type-arg]
        if offsets and "time" not in self.new:
            raise errors.InvalidSpec("linux.timeOffsets: only with a new time namespace")
        lines = []
        for name, offset in offsets.items():
            if name not in CLOCKS:
                raise errors.InvalidSpec(f"linux.timeOffsets: unknown clock {name!r}")
            secs, nanos = int(offset.get("secs") or 0), int(offset.get("nanosecs") or 0)
            lines.append(f"{CLOCKS[name]} {secs} {nanos}\n")
        return "".join(lines).encode()

    @property
    def root_ids(self) -> tuple[int, int] | None:
        """What a new user namespace's root is on the host; None when it is nobody, or not new."""
        if "user" not in self.new:
            return None
        ids = [_outside(text) for text in (self.uid_map, self.gid_map)]
        return None if None in ids else (int(ids[0] or 0), int(ids[1] or 0))

    def own(self, kind: str) -> bool:
        """Whether the container's namespace of a kind is not that of the runtime."""
        return kind in self.new or kind in self.joined

    def flags(self, *without: str) -> int:
        """Those of the new ones, for clone or unshare."""
        flags = 0
        for kind in self.new:
            if kind not in without:
                flags |= FLAGS[kind]
        return flags


def id_map(mappings: list[dict], where: str) -> str:  # type: ignore[type-arg]
    """Lines of uid_map or gid_map; raises InvalidSpec."""
    lines = []
    for mapping in mappings:
        numbers = [mapping.get(key) for key in ("containerID", "hostID", "size")]
        if not all(isinstance(n, int) and 0 <= n < 2**32 for n in numbers) or not numbers[2]:
            raise errors.InvalidSpec(f"{where}: containerID, hostID, size: must be numbers of ids")
        lines.append(f"{numbers[0]} {numbers[1]} {numbers[2]}\n")
    return "".join(lines)


def _outside(id_map: str) -> int | None:
    """The host's id of 0."""
    for line in id_map.splitlines():
        inside, outside, _ = line.split()
        if inside == "0":
            return int(outside)
    return None
