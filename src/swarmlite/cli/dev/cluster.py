"""The way to swarmlite.testing, which makes the hosts.

`testing` stands above this room (it runs the command line on its hosts), so nothing here may import
it; it is looked up by name when a person asks for hosts.
"""

from __future__ import annotations

import importlib
from typing import Any


def module() -> Any:
    """swarmlite.testing.dev: up(nodes, managers=...), down(), ROOT."""
    return importlib.import_module("swarmlite.testing.dev")
