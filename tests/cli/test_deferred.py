"""Modules that are loaded when they are first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from swarmlite.cli import SELDOM_USED


def own(*lines: str) -> str:
    """What a process prints that defers what is seldom used and runs these lines."""
    first = ("from swarmlite import cli, deferred", "deferred.defer(cli.SELDOM_USED)")
    script = "\n".join((*first, *lines))
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.mark.parametrize("name", SELDOM_USED)
def test_a_module_is_loaded_by_its_first_use_and_not_by_imports(name: str) -> None:
    """However many import it; and it is the whole module then."""
    package, _, last = name.rpartition(".")
    again = f"from {package} import {last} as again" if package else f"import {name} as again"
    printed = own(
        "import importlib, sys",
        f"sys.modules.pop({name!r}, None)",
        f"module = importlib.import_module({name!r})",
        again,
        "assert module is again",
        f"print(type(sys.modules[{name!r}]).__name__, end=' ')",
        f"word = {_WORDS[name]!r}",
        "print(callable(getattr(module, word)), type(module).__name__, module.__name__)",
    )
    assert printed == f"_Waiting True module {name}"


_WORDS = {
    "difflib": "get_close_matches",
    "inspect": "cleandoc",
    "ipaddress": "ip_address",
    "ntpath": "join",
    "subprocess": "run",
    "google.protobuf.descriptor_database": "DescriptorDatabase",
    "google.protobuf.internal.python_message": "GeneratedProtocolMessageType",
}


def test_threads_that_use_a_module_first_all_find_it_whole() -> None:
    printed = own(
        "import sys, threading",
        "sys.setswitchinterval(1e-6)",
        "sys.modules.pop('inspect', None)",
        "import inspect",
        "ready, found = threading.Barrier(8), []",
        "def use():",
        "    ready.wait()",
        "    found.append(inspect.cleandoc('a') + inspect.Parameter.__name__)",
        "threads = [threading.Thread(target=use) for _ in range(8)]",
        "for thread in threads: thread.start()",
        "for thread in threads: thread.join()",
        "print(found == ['aParameter'] * 8)",
    )
    assert printed == "True"
