"""Whole numbers as people and programs write them."""

from __future__ import annotations


def decimal(text: str, least: int, most: int) -> int | None:
    """The number that decimal digits stand for, both bounds included; None for any other text.

    However long the text is: Python's int() raises for more than 4,300 digits.
    """
    if not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(most)):
        return None
    number = int(digits)
    return number if least <= number <= most else None
