"""aiohttp without its client, whose loading is a third of the processor time of a first request.

`import aiohttp` runs the package's `__init__`, which loads client and server. Here the package is
put in place without running that; its parts are loaded when they are asked for, and whoever asks
for a name of the package's own gets all of it after all.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

PACKAGE = "aiohttp"


def prepare() -> None:
    """Before anything imports aiohttp in this process; without effect after."""
    if PACKAGE in sys.modules or (spec := importlib.util.find_spec(PACKAGE)) is None:
        return
    package = importlib.util.module_from_spec(spec)

    def found(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if importlib.util.find_spec(f"{PACKAGE}.{name}") is not None:
            return importlib.import_module(f"{PACKAGE}.{name}")
        del package.__dict__["__getattr__"]
        assert spec.loader is not None
        spec.loader.exec_module(package)
        return getattr(package, name)

    # What the Server header of its own answers would say; ours say swarmlite.
    package.__dict__.update(__version__="", __getattr__=found)
    sys.modules[PACKAGE] = package
