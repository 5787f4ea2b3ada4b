"""Libraries without the parts that no request needs, a third of the time of a first request.

Nothing of them is changed: what is left out is loaded when somebody asks for it after all.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any

from swarmlite import deferred

WEB = {
    **dict.fromkeys(("Response", "StreamResponse"), "aiohttp.web_response"),
    **{"BaseRequest": "aiohttp.web_request", "Server": "aiohttp.web_server"},
    "HTTPRequestEntityTooLarge": "aiohttp.web_exceptions",
    **dict.fromkeys(("WebSocketResponse", "WSMsgType"), "aiohttp.web_ws"),
}
"""Names of aiohttp.web, and where they come from; applications, routes and files are the others."""

WHEN_ASKED = ("attr.converters", "attr.filters", "attr.validators")
"""Modules that others import with themselves and do not look into."""

OF_SSL = ("http.client", "urllib.request")
"""Modules that have no https for good if they were loaded without ssl."""


def prepare(*, tls: bool = False) -> None:
    """Before anything imports asyncio, aiohttp or gRPC in this process; without effect after.

    Without `tls` asyncio is one of an interpreter without ssl.
    """
    if "aiohttp" in sys.modules or importlib.util.find_spec("aiohttp") is None:
        return
    deferred.defer(WHEN_ASKED)
    if not tls and "asyncio" not in sys.modules:
        sys.modules["ssl"] = None  # type: ignore[assignment]
    _place("aiohttp")
    _place("aiohttp.web", WEB)
    # What the Server header of its own answers would say; ours say swarmlite.
    vars(sys.modules["aiohttp"])["__version__"] = ""
    _place("typing_extensions", {"Self": "typing"})


def loaded() -> None:
    """Once all is imported that a first request takes: ssl is there again for who wants it."""
    modules: dict[str, ModuleType | None] = dict(sys.modules)
    if modules.get("ssl", sys) is None:
        del sys.modules["ssl"]
        for name in OF_SSL:
            sys.modules.pop(name, None)


def _place(package: str, names: Mapping[str, str] = MappingProxyType({})) -> None:
    """A module in place whose code is not run before somebody asks for a name of its own.

    `names` come from other modules, and so do those of its parts if it is a package.
    """
    if (spec := importlib.util.find_spec(package)) is None or spec.loader is None:
        return
    module, loader = importlib.util.module_from_spec(spec), spec.loader

    def found(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in names:
            return getattr(importlib.import_module(names[name]), name)
        part = f"{package}.{name}"
        if hasattr(module, "__path__") and importlib.util.find_spec(part) is not None:
            return importlib.import_module(part)
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, name)

    vars(module)["__getattr__"] = found
    sys.modules[package] = module
    if parent := package.rpartition(".")[0]:
        setattr(sys.modules[parent], package.rpartition(".")[2], module)
