"""Timestamps of objects as seconds since the epoch, and back."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.proto.objects_pb2 import Task


def seconds(timestamp: Timestamp) -> float:
    """Seconds since the epoch; 0.0 for one that is not set."""
    return timestamp.seconds + timestamp.nanos / 1e9


def stamp(timestamp: Timestamp, now: float) -> None:
    """Set `timestamp` to `now`."""
    timestamp.seconds = int(now)
    timestamp.nanos = int((now - int(now)) * 1e9)


def created(task: Task) -> float:
    """When a task was written first."""
    return seconds(task.meta.created_at)


def state_since(task: Task) -> float:
    """When a task's observed state was reported; the managers' clock before the agent's."""
    status = task.status
    return seconds(status.applied_at) or seconds(status.timestamp) or seconds(task.meta.updated_at)
