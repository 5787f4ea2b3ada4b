"""Lines of several nodes in the order of their times, while they are followed.

Nodes' lines reach a manager a moment apart. Each waits for `WINDOW_S`, and goes then with all that
are older than it. What there was before the call comes first and takes longer: until nothing has
come for a window, or for `HISTORY_S` at most, everything waits.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable

from swarmlite.proto.control_pb2 import LogMessage, LogStream

WINDOW_S = 0.2
HISTORY_S = 2.0
LINE_BYTES = 256
"""What a line takes in memory, beside its text."""
MAX_HELD_BYTES = 16 * 1024 * 1024
"""Beyond it the oldest go at once."""

Writer = tuple[str, "LogStream.ValueType"]
Key = tuple[tuple[int, int], int]
"""A time (seconds, nanoseconds), and the count of lines before it."""


class Window:
    """The lines of one call. Those of one task's stream stay as they came, whatever its clock did:
    they may be parts of one line.
    """

    def __init__(self, now: float) -> None:
        self._begun = self._last_came = now
        self._history = True
        self._held: list[tuple[Key, LogMessage]] = []
        self._arrivals: deque[tuple[float, Key]] = deque()
        self._of_writer: dict[Writer, tuple[int, int]] = {}
        """Times that a writer's next line is not to stand before."""
        self._bytes = self._count = 0

    def add(self, lines: Iterable[LogMessage], now: float) -> None:
        """Lines that have come now."""
        for line in lines:
            writer = line.context.task_id, line.stream
            stamp = (line.timestamp.seconds, line.timestamp.nanos)
            stamp = self._of_writer[writer] = max(stamp, self._of_writer.get(writer, stamp))
            key = stamp, self._count
            self._count += 1
            self._bytes += len(line.data) + LINE_BYTES
            heapq.heappush(self._held, (key, line))
            self._arrivals.append((now, key))
            self._last_came = now

    def due(self, now: float) -> list[LogMessage]:
        """Those that have waited, and what is older, in order."""
        newest: Key | None = None
        if self._bytes > MAX_HELD_BYTES:
            newest = heapq.nsmallest(max(len(self._held) // 2, 1), self._held)[-1][0]
        if now >= self._due_at():
            self._history = False
            while self._arrivals and self._arrivals[0][0] + WINDOW_S <= now:
                _, key = self._arrivals.popleft()
                newest = key if newest is None else max(newest, key)
        return [] if newest is None else self._until(newest)

    def wait_s(self, now: float) -> float | None:
        """How long until lines are due if none come; None without any."""
        if not self._held:
            return None
        return max(0.0, self._due_at() - now)

    def _due_at(self) -> float:
        if self._history:
            return min(self._last_came + WINDOW_S, self._begun + HISTORY_S)
        return self._arrivals[0][0] + WINDOW_S if self._arrivals else math.inf

    def _until(self, newest: Key) -> list[LogMessage]:
        found = []
        while self._held and self._held[0][0] <= newest:
            line = heapq.heappop(self._held)[1]
            self._bytes -= len(line.data) + LINE_BYTES
            found.append(line)
        if not self._held:  # what is to come is behind all that went
            self._of_writer.clear()
        return found
