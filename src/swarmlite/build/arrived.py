"""A context as it came: a tar, by its digest, and as a file where somebody reads it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class Context:
    """One of a build; a short one is in memory until somebody wants its file. One event loop's."""

    def __init__(self, path: Path) -> None:
        """`path` is where its file is to be, in a directory that is made for it."""
        self.size = 0
        self._path, self._written = path, False
        self._pieces: list[bytes] = []
        self._state, self._hashed = hashlib.sha256(), 0
        self._lock = asyncio.Lock()

    async def add(self, data: bytes, *, keep: bool) -> None:
        """More of it, which with `keep` may stay in memory. Raises OSError."""
        self.size += len(data)
        self._pieces.append(data)
        if self._written or not keep:
            async with self._lock:
                await asyncio.to_thread(self._write)

    async def digest(self) -> str:
        """Of all that came."""
        async with self._lock:
            if self._hashed < len(self._pieces):
                await asyncio.to_thread(self._hash)
        return self._state.hexdigest()

    async def path(self) -> Path:
        """The file. Raises OSError."""
        async with self._lock:
            if self._pieces or not self._written:
                await asyncio.to_thread(self._write)
        return self._path

    def _hash(self) -> None:
        for piece in self._pieces[self._hashed :]:
            self._state.update(piece)
        self._hashed = len(self._pieces)

    def _write(self) -> None:
        self._hash()
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._path, _FLAGS, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(self._pieces)
        self._pieces, self._hashed, self._written = [], 0, True
