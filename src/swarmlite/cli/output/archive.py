"""Archives: to standard output, or to a file that is there whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from swarmlite.errors import InvalidSpec


def written(output: str, chunks: Iterable[bytes]) -> None:
    """Write the chunks to the file; what fails half-way leaves what was there before.

    Devices and pipes are written to as they are. Raises InvalidSpec for a folder.
    """
    path = Path(output)
    if path.is_dir():
        raise InvalidSpec(f"{output} is a folder: name a file in it")
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            stream.writelines(chunks)
        return
    fd, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.writelines(chunks)
        Path(scratch).chmod(0o600)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def refuse_terminal(output: str) -> None:
    """Raises InvalidSpec when an archive would go to a terminal; to be asked before it is made."""
    if not output and sys.stdout.isatty():
        raise InvalidSpec("cowardly refusing to save to a terminal: use -o FILE or redirect")


def written_or_printed(output: str, chunks: Iterable[bytes]) -> None:
    """`written`; without a name to standard output."""
    if output:
        written(output, chunks)
        return
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
