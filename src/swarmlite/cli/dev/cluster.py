"""The way to swarmlite.testing, which makes the hosts.

`testing` stands above this room (it runs the command line on its hosts), so nothing here may import
it; it is looked up by name when a person asks for hosts.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from swarmlite.cli.lazy import Failed

PROCESSES = ("daemon", "agent", "manager", "etcd", "supervisor")
of_process = click.option(
    "--process",
    type=click.Choice(PROCESSES),
    default=None,
    help=f"One of the host's processes instead of the host: {', '.join(PROCESSES)}.",
)


class _Dev:
    """swarmlite.testing.dev; what fails on a host is one line."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        return self._guarded(found) if callable(found) else found

    def _guarded(self, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            try:
                return function(*args, **options)
            except (AssertionError, RuntimeError) as error:  # CommandFailed, and namespaces' own
                raise Failed(str(error).strip(), 1) from error

        return call


def module() -> Any:
    """swarmlite.testing.dev, with its functions and constants."""
    return _Dev(importlib.import_module("swarmlite.testing.dev"))
