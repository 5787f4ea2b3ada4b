"""Where an agent runs: this boot of this host, and the directory that holds its node's state.

A copy of the directory, on another host or on this one, is another place.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def place_of(state_dir: Path) -> str:
    """Of the directory; empty where that cannot be told."""
    try:
        boot, inode = BOOT_ID.read_text().strip(), state_dir.stat().st_ino
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {inode}".encode()).hexdigest()[:32]
