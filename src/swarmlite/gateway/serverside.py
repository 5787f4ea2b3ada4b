"""Libraries without the parts that no request needs, a third of the time of a first request.

Nothing of them is changed: what is left out is loaded when somebody asks for it after all.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec, PathFinder
from types import MappingProxyType, ModuleType
from typing import Any

WEB = {
    **dict.fromkeys(("Response", "StreamResponse"), "aiohttp.web_response"),
    **{"BaseRequest": "aiohttp.web_request", "Server": "aiohttp.web_server"},
    "HTTPRequestEntityTooLarge": "aiohttp.web_exceptions",
    **dict.fromkeys(("WebSocketResponse", "WSMsgType"), "aiohttp.web_ws"),
}
"""Names of aiohttp.web, and where they come from; applications, routes and files are the others."""

WHEN_ASKED = frozenset(
    {"attr.converters", "attr.filters", "attr.validators"}
    # The implementation for who has no compiled one.
    | {"google.protobuf.internal.python_message"}
)
"""Modules that others import with themselves and do not look into."""


def prepare(*, tls: bool = False) -> None:
    """Before anything imports asyncio, aiohttp or gRPC in this process; without effect after.

    Without `tls` asyncio is one of an interpreter without ssl.
    """
    if "aiohttp" in sys.modules or importlib.util.find_spec("aiohttp") is None:
        return
    sys.meta_path.insert(0, _WhenAsked())
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


class _WhenAsked:
    """Finds the modules whose code is run when something of them is asked for."""

    def find_spec(
        self, name: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system asks it first."""
        if name not in WHEN_ASKED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


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
