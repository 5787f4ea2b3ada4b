"""How messages put lists into words."""

from __future__ import annotations

from collections.abc import Iterable


def any_of(words: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *before, last = words
    return f"{', '.join(before)} or {last}" if before else last


def one_line(text: str) -> str:
    """Text of a user's, for a message: line ends and a terminal's orders are written out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
