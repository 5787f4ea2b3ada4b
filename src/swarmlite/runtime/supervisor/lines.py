"""What a log is to the supervisor, and how a stream of bytes becomes its lines."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINE_BYTES = 16 << 10  # as Docker: what is longer comes in parts, of which only the last ends


class Log:
    """Where a container's lines go. Nothing here raises for what the destination does."""

    def write(self, stream: str, lines: list[bytes]) -> None:
        """Take lines, each with its newline, or a part of a line without."""
        raise NotImplementedError

    def full(self, flowing: Callable[[], None]) -> bool:
        """Whether no more should come now; `flowing` is called once that has changed."""
        return False

    def close(self) -> None:
        """No more lines come."""
        raise NotImplementedError


class Lines:
    """Cuts one stream into lines for its log."""

    def __init__(self, stream: str, log: Log) -> None:
        self._stream, self._log = stream, log
        self._rest = b""

    def feed(self, data: bytes) -> int:
        """Hand on the lines that `data` completes; returns how many."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        whole = [line + b"\n" for line in lines]
        if len(self._rest) >= MAX_LINE_BYTES or any(len(line) > MAX_LINE_BYTES for line in whole):
            whole = [part for line in whole for part in _parts(line)]
            *parts, self._rest = _parts(self._rest)
            whole += parts
        if whole:
            self._log.write(self._stream, whole)
        return len(whole)

    def flush(self) -> None:
        """The stream has ended: so has its last line."""
        if self._rest:
            self._log.write(self._stream, [self._rest])
        self._rest = b""

    def full(self, flowing: Callable[[], None]) -> bool:
        """As the log says."""
        return self._log.full(flowing)


def _parts(line: bytes) -> list[bytes]:
    """Of at most MAX_LINE_BYTES each, cut between characters where the text is UTF-8."""
    parts = []
    while len(line) > MAX_LINE_BYTES:
        cut = MAX_LINE_BYTES
        while cut > MAX_LINE_BYTES - 4 and line[cut] & 0xC0 == 0x80:
            cut -= 1
        if line[cut] & 0xC0 == 0x80:
            cut = MAX_LINE_BYTES
        parts.append(line[:cut])
        line = line[cut:]
    return [*parts, line]
