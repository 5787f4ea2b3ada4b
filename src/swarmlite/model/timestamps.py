"""Times of messages.

protobuf's own `Timestamp.GetCurrentTime` calls, in its releases of 5, what Python deprecates since
3.12; so nothing here calls it.
"""

from __future__ import annotations

import time

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.model.units import parse_duration


def set_now(stamp: Timestamp) -> None:
    """Set `stamp` to the wall clock, to the nanosecond."""
    stamp.FromNanoseconds(time.time_ns())


def until_ns(text: str) -> int:
    """What the filter `until` means, in nanoseconds since the epoch.

    A UNIX time, an RFC 3339 time, or a duration before now. Raises InvalidSpec.
    """
    whole, dot, fraction = text.partition(".")
    if whole.isdigit() and (not dot or fraction.isdigit()):
        return int(whole) * 1_000_000_000 + int((fraction or "0")[:9].ljust(9, "0"))
    stamp = Timestamp()
    try:
        stamp.FromJsonString(text if text.endswith("Z") or "+" in text else f"{text}Z")
        return stamp.seconds * 1_000_000_000 + stamp.nanos
    except ValueError:
        return time.time_ns() - parse_duration(text)
