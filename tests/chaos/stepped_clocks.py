"""A clock of its own for each host's managers and agents, which the test steps by a file.

Loaded by its path in every `python -m swarmlite...` of a host, before anything else: the standard
library only. What is measured by (`time.monotonic`) goes on as it does; so does etcd.
"""

from __future__ import annotations

import datetime
import importlib.abc
import importlib.machinery
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_SITECUSTOMIZE = """
import importlib.util, sys
if any(word.startswith("swarmlite.") for word in sys.orig_argv):
    spec = importlib.util.spec_from_file_location("stepped_clocks", {here!r})
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.install({folder!r})
"""


class Clocks:
    """Of the hosts: `step` one's."""

    def __init__(self, folder: Path) -> None:
        """`folder` is to be their PYTHONPATH."""
        self._folder = folder
        site = _SITECUSTOMIZE.format(here=__file__, folder=str(folder))
        (folder / "sitecustomize.py").write_text(site)

    def step(self, host: str, seconds: float) -> None:
        """From now on a host's clock differs by so much from the machine's."""
        beside = self._folder / f".{host}"
        beside.write_text(str(seconds))
        beside.rename(self._folder / host)


def install(folder: str) -> None:
    """Step the wall clock of swarmlite's modules in this process as its host's is.

    Not that of the libraries: gRPC's core counts a deadline by the machine's own clock.
    """
    host = Path(os.environ.get("SWARMLITE_STATE_DIR", "/none/none")).parent.name
    ahead_s = _reader(Path(folder) / host)

    class Stepped(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            # One of the real class: libraries tell it from this one.
            return datetime.datetime.now(tz) + datetime.timedelta(seconds=ahead_s())

    clock = ModuleType("time")
    vars(clock).update(vars(time))
    vars(clock).update(
        time=lambda: time.time() + ahead_s(),
        time_ns=lambda: time.time_ns() + int(ahead_s() * 1_000_000_000),
    )
    sys.meta_path.insert(0, _Planter(Stepped, clock))


def _reader(file: Path) -> Callable[[], float]:
    def ahead_s() -> float:
        try:
            return float(file.read_text())
        except OSError:
            return 0.0

    return ahead_s


class _Planter(importlib.abc.MetaPathFinder):
    """Gives swarmlite's own modules the stepped clocks under the names that they import."""

    def __init__(self, stepped: type[datetime.datetime], clock: Any) -> None:
        self._stepped, self._clock = stepped, clock

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's own, with another loader's end."""
        if not name.startswith(("swarmlite.manager.", "swarmlite.agent.", "swarmlite.engine.")):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            self._step(vars(module))

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def _step(self, names: dict[str, Any]) -> None:
        if names.get("datetime") is datetime.datetime:
            names["datetime"] = self._stepped
        if names.get("time") is time:
            names["time"] = self._clock
        for function in list(names.values()):
            if time.time in (getattr(function, "__defaults__", None) or ()):
                function.__defaults__ = tuple(
                    self._clock.time if each is time.time else each
                    for each in function.__defaults__
                )
