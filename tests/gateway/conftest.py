"""A gateway for tests: the real process in front of a real engine, shared by a module."""

from __future__ import annotations

import sys
from pathlib import Path

for room in ("engine", "agent"):
    folder = str(Path(__file__).parents[1] / room)
    if folder not in sys.path:
        sys.path.insert(0, folder)
