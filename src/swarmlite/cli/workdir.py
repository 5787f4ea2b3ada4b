"""The folder that a command was typed in."""

from __future__ import annotations

import os
from pathlib import Path


def working_directory() -> Path:
    """As the shell names it, links kept, since another host follows its own; else as it is."""
    named = os.environ.get("PWD", "")
    try:
        if named.startswith("/") and Path(named).samefile("."):
            return Path(named)
    except OSError:
        pass
    return Path.cwd()


def absolute(path: str) -> str:
    """A path of this host, made absolute without following links."""
    return os.path.normpath(working_directory() / Path(path).expanduser())
