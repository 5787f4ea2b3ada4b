"""The file of this host's owner: swarmlite.toml, of which this room reads two sections."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from swarmlite.errors import InvalidSpec

USUAL = Path("/etc/swarmlite/swarmlite.toml")


def path() -> Path:
    """What SWARMLITE_SETTINGS names, or the usual one.

    A file that SWARMLITE_CONFIG names counts too, as units of earlier releases have it; today that
    is the folder of a user's own settings.
    """
    earlier = os.environ.get("SWARMLITE_CONFIG", "")
    named = os.environ.get("SWARMLITE_SETTINGS", "") or (earlier if Path(earlier).is_file() else "")
    return Path(named) if named else USUAL


def section(name: str) -> dict[str, Any]:
    """A table of it; empty where it is not there. Raises InvalidSpec that names the file."""
    file = path()
    try:
        with file.open("rb") as opened:
            document = tomllib.load(opened)
    except FileNotFoundError:
        if file != USUAL:
            raise InvalidSpec(f"SWARMLITE_SETTINGS names {file}, which is not there") from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidSpec(f"{file} cannot be read: {error}") from error
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise InvalidSpec(f"{file}: {name} is not a table")
    return found
