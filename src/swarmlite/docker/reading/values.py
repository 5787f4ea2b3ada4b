"""Values of requests that are more than JSON's own types."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from google.protobuf.duration_pb2 import Duration

from swarmlite.docker.fields import MAX_INT, Fields

SECOND = 1_000_000_000
MAX_INT32 = 2**31 - 1
MAX_UINT32 = 2**32 - 1


def bounded(sent: Fields, key: str, low: int, high: int) -> int:
    """A whole number within bounds. Raises InvalidSpec."""
    value = sent.number(key)
    if not low <= value <= high:
        raise sent.wrong(key, f"{value} is not between {low} and {high}")
    return value


def count(sent: Fields, key: str, most: int = MAX_INT) -> int:
    """A whole number that is not negative. Raises InvalidSpec."""
    return bounded(sent, key, 0, most)


def data(sent: Fields, key: str) -> bytes:
    """Bytes, which JSON carries in base64. Raises InvalidSpec, which does not show them."""
    try:
        return base64.b64decode(sent.text(key).encode(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise sent.wrong(key, "is not base64") from error


def duration(sent: Fields, key: str, into: Duration) -> None:
    """Nanoseconds, written into the message; absent leaves it unset."""
    if sent.has(key):
        into.FromNanoseconds(sent.number(key))


def word(sent: Fields, key: str, enum: Any) -> Any:
    """A word of `enum` (generated; they have no common type) in Docker's spelling, "stop-first";
    absent and "" are its first one. Raises InvalidSpec.
    """
    text = sent.text(key)
    if not text:
        return 0
    words = {name.lower().replace("_", "-"): number for name, number in enum.items()}
    if text.lower() not in words:
        raise sent.wrong(key, f"{text[:60]!r} is not one of {', '.join(words)}")
    return words[text.lower()]
