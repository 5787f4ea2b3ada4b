"""What `stop` and `restart` share: the signal, and how long it is waited for."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.flagtypes import FOREVER_S, SIGNAL, TIMEOUT


def stop_options(command: Any) -> Any:
    """-s and -t (and the older --time)."""
    signal = click.option("-s", "--signal", type=SIGNAL, help="Signal to send to the container.")
    timeout = click.option(
        "-t",
        "--timeout",
        "--time",
        "timeout",
        type=TIMEOUT,
        help="Seconds to wait before killing the container.",
    )
    return signal(timeout(command))


def stop_timeout_s(timeout: int | None) -> float:
    """How long the call may take: the container's own timeout is not known here."""
    return FOREVER_S if timeout is None or timeout < 0 else timeout + 120.0
