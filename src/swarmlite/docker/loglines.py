"""Log lines that arrive in parts, joined again."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from swarmlite.proto.control_pb2 import LogMessage

MAX_JOINED_BYTES = 1024 * 1024
"""A line that is longer is printed in pieces of this, so that none fills the memory."""


class Joiner:
    """Parts of a line to the whole of it, for each writer (a task's stream) on its own."""

    def __init__(self) -> None:
        self._parts: dict[Hashable, LogMessage] = {}

    def add(self, writer: Hashable, message: LogMessage) -> LogMessage | None:
        """The whole line with the time of its first part, once its last one has come."""
        started = self._parts.pop(writer, None)
        if started is not None:
            started.data += message.data
            message = started
        if message.data.endswith(b"\n") or len(message.data) >= MAX_JOINED_BYTES:
            return message
        self._parts[writer] = message
        return None

    def rest(self) -> Iterator[LogMessage]:
        """What never came to an end."""
        yield from self._parts.values()
        self._parts.clear()
