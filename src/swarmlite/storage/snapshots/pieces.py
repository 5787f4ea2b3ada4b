"""What comes piece by piece, to be read as a file."""

from __future__ import annotations

import io
from collections.abc import Iterator


class Pieces(io.RawIOBase):
    """An iterator of pieces as a file to be read; closed, so is the iterator."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """What is there of the next piece, at most `size`; empty at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        taken = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return taken

    def close(self) -> None:
        """End the iterator."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
        super().close()
