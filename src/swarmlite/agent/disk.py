"""Whether this node's disk can be written: said in its description, so that `node ls` shows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

FREE_BYTES = 4 << 20
"""Below this much, whatever is written next may fail."""


class DiskWatch:
    """Looks at the disk of `folder`; `failure` is what the last write of the agent's said."""

    def __init__(self, folder: Path, failure: Callable[[], str]) -> None:
        self._folder = folder
        self._failure = failure

    def warnings(self) -> list[str]:
        """One line while the disk is full or cannot be written, else none."""
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < FREE_BYTES or (disk.f_files and not disk.f_favail):
            return [f"no space left on the disk of {self._folder}"]
        if why := self._failure():
            return [f"{self._folder} cannot be written: {why}"]
        return []
