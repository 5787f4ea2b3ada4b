"""Times and sizes in the words that Docker's tables use."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.docker.words import ago, duration
from swarmlite.model.service_rows import familiar_image, short_id

__all__ = ["ago", "duration", "familiar_image", "short_id"]


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
