"""Times and sizes in the words that Docker's tables use."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

SHORT_ID = 12


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


def short_id(identity: str) -> str:
    """The 12 characters that tables show of an id, its "sha256:" left out."""
    return identity.rpartition(":")[2][:SHORT_ID]


def familiar_image(image: str) -> str:
    """An image's name as lists show it: the digest left out when there is a tag."""
    name, at, _ = image.partition("@")
    tagged = ":" in name.rpartition("/")[2]
    return name if at and tagged else image


def local_time(timestamp: Timestamp) -> str:
    """As Go prints a time: "2024-01-02 03:04:05 +0000 UTC"."""
    moment = datetime.fromtimestamp(timestamp.seconds, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S +0000 UTC")


def go_time(timestamp: Timestamp) -> str:
    """As `inspect --pretty` prints it: "2024-01-02 03:04:05.000000006 +0000 utc"."""
    moment = datetime.fromtimestamp(timestamp.seconds, UTC)
    fraction = f".{timestamp.nanos:09d}".rstrip("0").rstrip(".")
    return moment.strftime(f"%Y-%m-%d %H:%M:%S{fraction} +0000 utc")


def ellipsis(text: str, length: int) -> str:
    """`text`, or its first `length` - 1 characters and an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"
