"""Archives: to standard output, or to a file that is there whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from swarmlite.errors import InvalidSpec
from swarmlite.kernel.durable import named

STDOUT = "standard output"


class WholeFile:
    """A file that is there whole or not at all; until then what was there before stays.

    Its methods raise OSError, with the file's name.
    """

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        import tempfile  # slow to load

        self._path, self._mode = path, mode
        with named(path):
            fd, self._scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        self._stream = os.fdopen(fd, "wb")

    def write(self, data: bytes) -> None:
        """More of it."""
        with named(self._path):
            self._stream.write(data)

    def finish(self) -> None:
        """All was written."""
        with named(self._path):
            self._stream.close()
            Path(self._scratch).chmod(self._mode)
            Path(self._scratch).replace(self._path)

    def drop(self) -> None:
        """Nothing of it stays; after `finish` nothing happens."""
        with suppress(OSError):  # a full disk has no room for what is buffered
            self._stream.close()
        Path(self._scratch).unlink(missing_ok=True)


def written(output: str, chunks: Iterable[bytes], *, mode: int = 0o600) -> None:
    """Write the chunks to the file; what fails half-way leaves what was there before.

    Devices and pipes are written to as they are. Raises InvalidSpec for a folder, OSError.
    """
    path = Path(output)
    if path.is_dir():
        raise InvalidSpec(f"{output} is a folder: name a file in it")
    if path.exists() and not path.is_file():
        stream = path.open("wb")
        try:
            _write(stream, output, chunks)
        finally:
            with suppress(OSError):
                stream.close()
        return
    file = WholeFile(path, mode)
    try:
        for chunk in chunks:
            file.write(chunk)
        file.finish()
    finally:
        file.drop()


def _write(stream: BinaryIO, name: str, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        with named(name):
            write_all(stream, chunk)
    with named(name):
        stream.flush()


def write_all(stream: BinaryIO, data: bytes) -> None:
    """Write all of it, also to a stream without a buffer: what PYTHONUNBUFFERED makes of STDOUT."""
    left = memoryview(data)
    while left:
        left = left[stream.write(left) :]


def refuse_terminal(output: str) -> None:
    """Raises InvalidSpec when an archive would go to a terminal; to be asked before it is made."""
    if not output and sys.stdout.isatty():
        raise InvalidSpec("cowardly refusing to save to a terminal: use -o FILE or redirect")


def written_or_printed(output: str, chunks: Iterable[bytes]) -> None:
    """`written`; without a name to standard output."""
    if output:
        written(output, chunks)
        return
    _write(sys.stdout.buffer, STDOUT, chunks)
