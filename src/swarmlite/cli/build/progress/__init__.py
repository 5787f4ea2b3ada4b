"""How a build is shown: lines, a terminal's region that changes, JSON, or nothing.

Each hears every event, and `close` once at the end.
"""

from __future__ import annotations

import os
import sys
from typing import Protocol, TextIO

from swarmlite.proto.build_pb2 import BuildEvent


class Progress(Protocol):
    """Shows events as they come."""

    def hear(self, event: BuildEvent) -> None:
        """One event."""

    def close(self, *, failed: bool) -> None:
        """There are no more."""


class Nothing:
    """Shows none."""

    def hear(self, event: BuildEvent) -> None:
        """Nothing."""

    def close(self, *, failed: bool) -> None:
        """Nothing."""


class Counted:
    """Has another one show them, and counts the warnings."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self.warnings = 0

    def hear(self, event: BuildEvent) -> None:
        """One event."""
        self.warnings += event.HasField("warning")
        self._shown.hear(event)

    def close(self, *, failed: bool) -> None:
        """There are no more."""
        self._shown.close(failed=failed)


def shown_as(kind: str, out: TextIO | None = None) -> Progress:
    """By the word of --progress; auto is tty on a terminal and plain elsewhere."""
    out = out or sys.stderr
    if kind in ("quiet", "none"):
        return Nothing()
    if kind == "rawjson":
        from swarmlite.cli.build.progress.rawjson import RawJson

        return RawJson(out)
    if kind == "tty" or (kind == "auto" and out.isatty() and os.environ.get("TERM") != "dumb"):
        from swarmlite.cli.build.progress.terminal import Terminal

        return Terminal(out)
    from swarmlite.cli.build.progress.plain import Plain

    return Plain(out)
