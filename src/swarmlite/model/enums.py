"""Names of enumerations' values, also of those that this version does not know."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1024)  # lists of thousands of tasks ask for the same few
def word(enum: Any, number: int, prefix: str = "") -> str:
    """The value's name in small letters and without `prefix`; the number where it has no name."""
    if number not in enum.values():  # of a newer version, or of a node that says what it likes
        return str(number)
    name: str = enum.Name(number)
    return name.removeprefix(prefix).lower()
