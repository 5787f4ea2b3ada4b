"""Removes the cgroups that a cluster's hosts leave when they are killed."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
TIMEOUT_S = 5.0


def remove(parent: str) -> None:
    """Remove `parent` and what is below it in every hierarchy; after 5 s the busy ones stay."""
    deadline = time.monotonic() + TIMEOUT_S
    for root in _hierarchies():
        top = root / parent.lstrip("/")
        while top.is_dir() and not _remove_tree(top) and time.monotonic() < deadline:
            time.sleep(0.02)


def remove_empty(parent: str) -> None:
    """Remove `parent` where nothing is below it: others' hosts may be about to use theirs."""
    for root in _hierarchies():
        with contextlib.suppress(OSError):
            (root / parent.lstrip("/")).rmdir()


def _hierarchies() -> list[Path]:
    found = [path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]
    return [CGROUPS, *found]


def _remove_tree(top: Path) -> bool:
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:
            return False
    return True
