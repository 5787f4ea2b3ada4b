"""The code of a command's modules in one file: finding and reading sixty takes longer than running.

What the import system keeps in `__pycache__` file by file is kept there as a whole as well, once
for each command. It counts only while every source is as it was (time and size, as for a .pyc), and
where it cannot be written everything is imported as ever.
"""

from __future__ import annotations

import marshal
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import SourceFileLoader

from swarmlite.runtime import compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

    Modules = dict[str, tuple[str, bool, CodeType]]  # name -> source, whether a package, code

_BEFORE = set(sys.modules)
_FOLDER = __file__.rpartition("/")[0] + "/__pycache__"


class _Finder:
    """Finds modules among those that were packed, and is their loader too."""

    def __init__(self, modules: Modules) -> None:
        self._modules = modules

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system asks it first."""
        found = self._modules.get(name)
        if found is None:
            return None
        source, is_package, _ = found
        spec = ModuleSpec(name, self, origin=source, is_package=is_package)  # type: ignore[arg-type]
        if is_package:
            spec.submodule_search_locations = [source.rpartition("/")[0]]
        spec.has_location = True
        return spec

    def create_module(self, _spec: ModuleSpec) -> ModuleType | None:
        """An ordinary one."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run its code, which is then not needed any more."""
        exec(self._modules.pop(module.__name__)[2], module.__dict__)


def use(command: str) -> bool:
    """Import from the file of `command` from now on; False when there is none that counts."""
    try:
        stamps, modules = marshal.loads(compiled.read(_path(command)))
        if any(compiled.stamp(source) != stamp for source, stamp in stamps.items()):
            return False
    except (OSError, ValueError, EOFError, TypeError):
        return False
    sys.meta_path.insert(0, _Finder(modules))
    return True


def keep(command: str) -> None:
    """Write the file of `command`: what is loaded now, as far as it comes from sources."""
    modules: Modules = {}
    stamps: dict[str, tuple[int, int]] = {}
    try:
        for name, module in list(sys.modules.items()):
            loader, source = getattr(module, "__loader__", None), getattr(module, "__file__", "")
            # what the interpreter has in itself, or loads anyway, it loads faster
            if name in _BEFORE or not isinstance(loader, SourceFileLoader):
                continue
            stamps[source] = compiled.stamp(source)
            code = loader.get_code(name)
            if code is not None:
                modules[name] = source, hasattr(module, "__path__"), code
        compiled.write(_path(command), marshal.dumps((stamps, modules)))
    except (OSError, ImportError, ValueError):
        pass  # the next one will try


def _path(command: str) -> str:
    return f"{_FOLDER}/{command}.{sys.implementation.cache_tag}.packed"
