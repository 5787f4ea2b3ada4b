"""Docker's flags that a container here does not honour, each with what to use in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from swarmlite.cli.lazy import Failed

REFUSED = {
    "--gpus": "GPUs are not supported; --device /dev/NAME passes one device",
    "--link-local-ip": "not supported",
    "--storage-opt": "not supported",
    "--kernel-memory": "no kernel has it any more; --memory limits it too",
    "--use-api-socket": "not supported; mount the socket with -v",
    "--cpu-count": "it is for Windows; use --cpus",
    "--cpu-percent": "it is for Windows; use --cpus",
    "--io-maxbandwidth": "it is for Windows; use --device-write-bps",
    "--io-maxiops": "it is for Windows; use --device-write-iops",
}
_MISUSED = 125
_ONLY = {"--isolation": ("default",), "--runtime": ("swarmlite", "runc")}
"""Flags of which a word or two mean what is done anyway."""


def refusals(command: Any) -> Any:
    """The hidden options that end in one line."""
    for name, reason in REFUSED.items():
        command = _option(name, _refuser(name, reason))(command)
    for name, words in _ONLY.items():
        command = _option(name, _only(name, words))(command)
    return click.option("--disable-content-trust", is_flag=True, hidden=True, expose_value=False)(
        command
    )


def _option(name: str, callback: Callable[..., None]) -> Any:
    return click.option(name, callback=callback, hidden=True, expose_value=False, multiple=True)


def _refuser(name: str, reason: str) -> Callable[..., None]:
    def refuse(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
        if value:
            raise Failed(f"{name}: {reason}", _MISUSED)

    return refuse


def _only(name: str, words: tuple[str, ...]) -> Callable[..., None]:
    def check(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
        if any(word not in words for word in value):
            raise Failed(f"{name} {value[-1]}: the only one is {words[0]}", _MISUSED)

    return check
