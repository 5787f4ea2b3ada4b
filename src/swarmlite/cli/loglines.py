"""The values of --tail."""

from __future__ import annotations

from swarmlite.cli.lazy import parsed
from swarmlite.errors import InvalidSpec


def _tail(text: str) -> int:
    if text == "all":
        return -1
    if text == "-1":
        return -1
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidSpec('expected a number of lines or "all"')
    return int(text)


TAIL = parsed(_tail)
"""A number of lines; -1 for all of them."""
