"""Times and sizes in the words that Docker's tables use."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.docker.words import ago, duration

__all__ = ["ago", "duration"]

SHORT_ID = 12


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
