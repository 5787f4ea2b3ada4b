"""Random identities in Swarm's form."""

from __future__ import annotations

import secrets

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
LENGTH = 25


def base36(number: int, length: int) -> str:
    """`number` in base 36, padded with zeros to `length` characters."""
    digits = []
    while number:
        number, digit = divmod(number, 36)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits)).rjust(length, "0")


def new_id() -> str:
    """A new identity: 25 characters of base 36, 128 random bits."""
    return base36(secrets.randbits(128), LENGTH)
