"""What clients of Docker's API send of a context only to be read: they leave its removal to us."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from swarmlite.build.context.patterns import read
from swarmlite.build.sources import opened_file
from swarmlite.build.trees import looked, opened
from swarmlite.kernel.paths import DIRECTORY, open_in_root

IGNORE_FILE = ".dockerignore"
_MAX_BYTES = 1 << 20


def drop_ignored(tree: Path, dockerfile: str) -> None:
    """Remove the Dockerfile, and .dockerignore, if the latter names them.

    Raises InvalidSpec for a bad pattern.
    """
    with opened(tree) as root:
        try:
            with looked(root, IGNORE_FILE) as found, opened_file(found) as file:
                patterns = read(os.pread(file, _MAX_BYTES, 0), IGNORE_FILE)
        except OSError:  # there is none, or it is no file
            return
        for name in (dockerfile or "Dockerfile", IGNORE_FILE):
            path = posixpath.normpath("/" + name).lstrip("/")
            if patterns.excludes(path):
                _remove(root, path)


def _remove(root: int, path: str) -> None:
    folder, _, name = path.rpartition("/")
    try:
        parent = open_in_root(root, folder or ".", DIRECTORY)
    except OSError:
        return
    try:
        os.unlink(name, dir_fd=parent)
    except OSError:  # a directory, or gone
        return
    finally:
        os.close(parent)
