"""Modules that are loaded when something of them is first used, and not when they are imported.

Libraries import them at their top for what few processes do: click to indent help and for prompts,
dataclasses for signatures, protobuf for its version in pure Python. importlib's own LazyLoader
loads a module as soon as a second one imports it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_loading = threading.RLock()


def defer(names: Iterable[str]) -> None:
    """Have these modules wait in this process, unless they are loaded already."""
    sys.meta_path.insert(0, _Finder(frozenset(names)))


class _Finder:
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """That of a module that can wait, with a loader that does."""
        spec = PathFinder.find_spec(name, path, target) if name in self._names else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


class _Loader:
    def __init__(self, real: Any) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Without anything in it."""
        return _Waiting(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Later."""


class _Waiting(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system's own questions
            raise AttributeError(name)
        with _loading:
            spec: Any = self.__spec__
            if isinstance(spec.loader, _Loader):
                # Whoever asks while it is loaded, and it itself, finds what is there so far.
                spec.loader = self.__loader__ = spec.loader.real
                spec.loader.exec_module(self)
                self.__class__ = ModuleType  # type: ignore[assignment]
            return ModuleType.__getattribute__(self, name)
