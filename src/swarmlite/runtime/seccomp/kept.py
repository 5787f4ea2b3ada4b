"""Compiled filters on the disk, for commands that make one container each.

They lie where compiled Python does, and are trusted as that is. One of them counts only for the
very profile it was made of, and while the sources that made it are as they were.
"""

from __future__ import annotations

import _imp
import marshal

from swarmlite.runtime import compiled, lean

SLOTS = 32  # a profile more takes another one's place
SOURCES = ("cache.py", "compile.py", "profile.py", "data/default.json", "data/syscalls.json")
Parts = tuple[bytes, int, bool, bool, bool]
_HERE = __file__.rpartition("/")[0]


def read(key: str) -> Parts | None:
    """What was kept for a profile."""
    try:
        stamps, profile, parts = marshal.loads(compiled.read(_path(key)))
    except (OSError, ValueError, EOFError, TypeError):
        return None
    whole = profile == key and stamps == _stamps()
    return parts if whole else None


def write(key: str, parts: Parts) -> None:
    """Keep it, unless the file system cannot be written."""
    with lean.suppress(OSError):
        compiled.write(_path(key), marshal.dumps((_stamps(), key, parts)))


def _path(key: str) -> str:
    number = int.from_bytes(_imp.source_hash(0, key.encode()), "little") % SLOTS
    return f"{_HERE}/__pycache__/filter-{number}.bpf"


def _stamps() -> list[tuple[int, int]]:
    return [compiled.stamp(f"{_HERE}/{name}") for name in SOURCES]
