"""Times of messages.

protobuf's own `Timestamp.GetCurrentTime` calls, in its releases of 5, what Python deprecates since
3.12; so nothing here calls it.
"""

from __future__ import annotations

import time

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.model.numerals import decimal
from swarmlite.model.units import parse_duration

MAX_S = 253_402_300_799
"""The last second of the year 9999: protobuf's last."""


def set_now(stamp: Timestamp) -> None:
    """Set `stamp` to the wall clock, to the nanosecond."""
    stamp.FromNanoseconds(time.time_ns())


def until_ns(text: str) -> int:
    """What the filter `until` means, in nanoseconds since the epoch.

    A UNIX time, an RFC 3339 time, or a duration before now. Raises InvalidSpec.
    """
    whole, dot, fraction = text.partition(".")
    exact = not dot or (fraction.isascii() and fraction.isdecimal())
    if exact and (seconds := decimal(whole, 0, MAX_S)) is not None:
        return seconds * 1_000_000_000 + int((fraction or "0")[:9].ljust(9, "0"))
    stamp = Timestamp()
    try:
        stamp.FromJsonString(text if text.endswith("Z") or "+" in text else f"{text}Z")
        return stamp.seconds * 1_000_000_000 + stamp.nanos
    except ValueError:
        return time.time_ns() - parse_duration(text)
