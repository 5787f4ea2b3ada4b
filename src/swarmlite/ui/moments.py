"""Times as pages show them: the host's clock, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def shown(at: Timestamp) -> str:
    """To the second; nothing for none."""
    if not at.seconds:
        return ""
    return f"{datetime.fromtimestamp(at.seconds, UTC):%Y-%m-%d %H:%M:%S}"
