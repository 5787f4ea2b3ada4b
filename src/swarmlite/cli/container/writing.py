"""A file that is there whole or not at all."""

from __future__ import annotations

import os
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
