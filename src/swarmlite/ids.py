"""Random identities in Swarm's form."""

from __future__ import annotations

import secrets

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
LENGTH = 25
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]


def base36(number: int, length: int) -> str:
    """`number` in base 36, padded with zeros to `length` characters."""
    pairs = []
    while number:
        number, pair = divmod(number, 36 * 36)
        pairs.append(_PAIRS[pair])
    pairs.reverse()
    return "".join(pairs).lstrip("0").rjust(length, "0")


def new_id() -> str:
    """A new identity: 25 characters of base 36, 128 random bits."""
    return base36(secrets.randbits(128), LENGTH)
