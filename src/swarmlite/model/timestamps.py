"""Times of messages.

protobuf's own `Timestamp.GetCurrentTime` calls, in its releases of 5, what Python deprecates since
3.12; so nothing here calls it.
"""

from __future__ import annotations

import time

from google.protobuf.timestamp_pb2 import Timestamp


def set_now(stamp: Timestamp) -> None:
    """Set `stamp` to the wall clock, to the nanosecond."""
    stamp.FromNanoseconds(time.time_ns())
