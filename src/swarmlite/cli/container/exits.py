"""Exit codes of a command that runs a container: its own, or what kept it from running."""

from __future__ import annotations

from swarmlite.errors import SwarmliteError

FAILED, NOT_RUN, NOT_FOUND = 125, 126, 127
"""The engine failed; the command could not be run; there is no such command."""

_ABSENT = ("not found", "no such file or directory")
_UNFIT = ("permission denied", "is a directory", "exec format error", "not executable")


def code_of(error: SwarmliteError) -> int:
    """The code for a container that was not started."""
    line = str(error).lower()
    if any(words in line for words in _UNFIT):
        return NOT_RUN
    if "exec" in line and any(words in line for words in _ABSENT):
        return NOT_FOUND
    return FAILED
