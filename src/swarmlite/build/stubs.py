"""Places of mounts that a RUN needed and an image does not have: they go again afterwards."""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

from swarmlite.build.trees import folder, looked, resolved


@dataclass
class Stubs:
    """Paths that were not there, the deepest last, and times of the directories that were."""

    missing: list[str] = field(default_factory=list)
    times: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing)

    @classmethod
    def noted(cls, root: int, targets: Sequence[str]) -> Stubs:
        """Before the run. Blocks."""
        stubs = cls()
        for target in targets:
            path = posixpath.normpath("/" + target.lstrip("/"))
            with contextlib.suppress(OSError):
                stubs._note(root, path)
        return stubs

    def _note(self, root: int, path: str) -> None:
        missing: list[str] = []
        while True:
            path = resolved(root, path)
            try:
                with looked(root, path) as fd:
                    status = os.fstat(fd)
                break
            except FileNotFoundError:
                missing.append(path)
                path = posixpath.dirname(path)
        if missing and stat.S_ISDIR(status.st_mode):
            self.times.setdefault(path, (status.st_atime_ns, status.st_mtime_ns))
        self.missing += [name for name in reversed(missing) if name not in self.missing]

    def clear(self, root: int) -> None:
        """After it: what is empty goes. Blocks."""
        for path in reversed(self.missing):
            parent, last = posixpath.split(path)
            with contextlib.suppress(OSError), folder_there(root, parent) as fd:
                status = os.lstat(last, dir_fd=fd)
                if stat.S_ISDIR(status.st_mode):
                    os.rmdir(last, dir_fd=fd)
                elif stat.S_ISREG(status.st_mode) and not status.st_size:
                    os.unlink(last, dir_fd=fd)
        for path, times in self.times.items():
            with contextlib.suppress(OSError), folder_there(root, path) as fd:
                os.utime(fd, ns=times)


def folder_there(root: int, path: str) -> contextlib.AbstractContextManager[int]:
    """A directory that is there. Raises OSError."""
    if not posixpath.isabs(path):
        path = f"/{path}"
    with looked(root, path):
        return folder(root, path)
