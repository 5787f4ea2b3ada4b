"""File systems that are made before the container is there that will have them.

They are new and empty, and detached: no path leads to them. Those that belong to no namespace are
made by the forking process, which has done so before and does it fast; those that show a namespace
by the child that was born into it. A container has them only if it would make the very same.
"""

from __future__ import annotations

import os

from swarmlite.kernel import mounting, namespaces
from swarmlite.runtime.supervisor import devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from swarmlite.kernel.mounting import Options

#: whether it is a /dev with its nodes, kind, options, attributes
Key = tuple[bool, str, tuple[tuple[bytes, bytes | int | None], ...], int]
KINDS = ("tmpfs", "devpts")
#: kind -> the flag of the namespace that it shows
SHOWN = {
    "proc": namespaces.CLONE_NEWPID,
    "mqueue": namespaces.CLONE_NEWIPC,
    "sysfs": namespaces.CLONE_NEWNET,
}
MAX_FILESYSTEMS = 8


class Kit:
    """Descriptors of mounts by what they are; each is taken once."""

    def __init__(self, keys: list[Key]) -> None:
        self._ready: dict[Key, list[int]] = {}
        self._add([key for key in keys if key[1] in KINDS])
        self._left = [key for key in keys if key[1] in SHOWN]

    def complete(self, new: int) -> None:
        """With those of the namespaces of these flags, in which the caller is."""
        self._add([key for key in self._left if SHOWN[key[1]] & new])

    def _add(self, keys: list[Key]) -> None:
        for key in keys[:MAX_FILESYSTEMS]:
            try:
                tree = _make(*key)
            except OSError:
                continue  # who wants it will try, and say what is wrong
            self._ready.setdefault(key, []).append(tree)

    def take(self, populated: bool, kind: str, options: Options, attributes: int) -> int:
        """A mount that is the caller's from now on, or -1."""
        found = self._ready.get((populated, kind, tuple(options), attributes))
        return found.pop() if found else -1

    def descriptors(self) -> list[int]:
        """What has not been taken."""
        return [tree for trees in self._ready.values() for tree in trees]

    def close(self) -> None:
        """Nobody wants the rest."""
        for tree in self.descriptors():
            os.close(tree)
        self._ready = {}


def _make(populated: bool, kind: str, options: Options, attributes: int) -> int:
    tree = mounting.new_filesystem(kind.encode(), options, attributes)
    if populated:
        try:
            devices.populate(tree, [])
        except OSError:
            os.close(tree)
            raise
    return tree
