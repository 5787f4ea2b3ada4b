"""Timestamps of objects as seconds since the epoch, and back; and what came first.

Clocks step, and managers' clocks differ. So order is never taken from times but from the store's
revisions, and a stored time that lies ahead of now counts as now (`Past`).
"""

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


def order(task: Task) -> tuple[int, str]:
    """A key that sorts tasks by their creation, whatever the clock said then."""
    return task.meta.created_version.index, task.id


class Past:
    """Stored times as this manager's clock has them: call it with one.

    A time ahead of now counts as the moment at which it was first met here, so that a delay that
    began at a time that is yet to come ends as late as if it began now, and not later.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._met: dict[float, float] = {}

    def at(self, now: float) -> Past:
        """Itself, from now on as of `now`."""
        self.now = now
        if self._met:
            self._met = {stored: min(met, now) for stored, met in self._met.items() if stored > now}
        return self

    def __call__(self, stored: float) -> float:
        """`stored`, or when it was met if it lies ahead; never more than now."""
        if stored <= self.now:
            return stored
        return self._met.setdefault(stored, self.now)


def state_since(task: Task) -> float:
    """When a task's observed state was reported; the managers' clock before the agent's."""
    status = task.status
    return seconds(status.applied_at) or seconds(status.timestamp) or seconds(task.meta.updated_at)
