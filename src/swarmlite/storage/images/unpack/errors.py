"""What unpacking refuses; the messages are for users."""

from __future__ import annotations


class BadLayer(Exception):
    """The archive is malformed, hostile, or not what its digest says."""


class TooBig(Exception):
    """A limit of this host was passed: entries, bytes, free disk, memory."""


def shown(name: str) -> str:
    """A member's name as one short printable line."""
    text = repr(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
    return text if len(text) <= 120 else f"{text[:100]}..."
