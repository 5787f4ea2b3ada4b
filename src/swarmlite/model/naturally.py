"""The order of names in which web2 comes before web10."""

from __future__ import annotations

import re

_PARTS = re.compile(r"(\d+)")


def naturally(text: str) -> list[tuple[int, int, str]]:
    """A sort key: digits by their number, the rest by its characters."""
    return [
        (0, int(part), part) if part.isascii() and part.isdigit() else (1, 0, part)
        for part in _PARTS.split(text)
        if part
    ]
