"""JSON of what lists show again and again, kept by what it was made of.

Clients poll: a proxy every few seconds, a dashboard every second, the docker command five times a
second while a service comes up. Most of a list is what it was, and to make its JSON again is nine
tenths of an answer. An entry's key is the message itself, as bytes, with all else that its JSON
depends on; so nothing has to be forgotten when something changes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from google.protobuf.message import Message

from swarmlite.gateway.request import encoded

KEPT_BYTES = 8 << 20
"""Of keys and JSON, at most; above a half of it what was not asked for since the last half goes."""

Key = tuple[bytes, Hashable]


class Rendered:
    """One list's JSON, object by object; lives as long as the process."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        """Empty."""
        self._half_bytes = kept_bytes // 2
        self._young: dict[Key, bytes] = {}
        self._old: dict[Key, bytes] = {}
        self._young_bytes = 0

    def json(self, value: Message, also: Hashable, make: Callable[[], Any]) -> bytes:
        """The JSON of `value`, which `make` makes of it and of `also` only."""
        return self.text(value.SerializeToString(), also, lambda: encoded(make())[:-1])

    def text(self, value: bytes, also: Hashable, make: Callable[[], bytes]) -> bytes:
        """What `make` makes of a message's bytes and of `also` only."""
        key = (value, also)
        found = self._young.get(key)
        if found is None:
            found = self._old[key] if key in self._old else make()
            self._keep(key, found)
        return found

    def _keep(self, key: Key, text: bytes) -> None:
        self._young[key] = text
        self._young_bytes += len(key[0]) + len(text)
        if self._young_bytes > self._half_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0


class Last:
    """A whole list's JSON, kept with the tag that the managers gave the list."""

    def __init__(self) -> None:
        """Of no list."""
        self._kept: tuple[str, Hashable, bytes] = "", None, b""

    def seen(self, also: Hashable) -> tuple[str, bytes]:
        """The tag of what there is, and its JSON, if that was made of `also` too."""
        tag, made_of, text = self._kept
        return (tag, text) if made_of == also else ("", b"")

    def keep(self, tag: str, also: Hashable, text: bytes) -> None:
        """In place of what there was."""
        self._kept = tag, also, text


def entries(message: bytes) -> tuple[list[bytes], bytes]:
    """The entries of a list's message, its first field, and what comes behind them.

    To read all of them takes ten times as long, and most are as they were.
    """
    found, at, end = [], 0, len(message)
    while at < end and message[at] == _FIRST_FIELD:
        length, shift, at = 0, 0, at + 1
        while True:
            byte = message[at]
            length |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < 0x80:
                break
        found.append(message[at : at + length])
        at += length
    return found, message[at:]


_FIRST_FIELD = 0x0A
"""Number 1, of a length that follows: https://protobuf.dev/programming-guides/encoding."""


def with_fields(text: bytes, fields: Mapping[str, Any]) -> bytes:
    """An object's JSON, which is not empty, with fields that change more often than it."""
    return text[:-1] + b"," + encoded(fields)[1:-1]


def array(texts: Iterable[bytes]) -> bytes:
    """A list's JSON as Docker's server writes it."""
    return b"[" + b",".join(texts) + b"]\n"
