"""How long ago something was, in Docker's words."""

from __future__ import annotations

import time

from google.protobuf.timestamp_pb2 import Timestamp


def duration(seconds: float) -> str:
    """About how long: "Less than a second", "5 seconds", "About a minute", "3 weeks"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    for limit, unit, name in ((48, 1, "hours"), (336, 24, "days"), (1440, 168, "weeks")):
        if hours < limit:
            return f"{hours // unit} {name}"
    if hours < 17520:
        return f"{hours // 720} months"
    return f"{int(seconds / 3600) // 8760} years"


def ago(timestamp: Timestamp, now: float | None = None) -> str:
    """How long ago, as a table says: "About a minute ago"."""
    then = timestamp.seconds + timestamp.nanos / 1e9
    return f"{duration(max(0.0, (time.time() if now is None else now) - then))} ago"
