"""Asking before what cannot be undone."""

from __future__ import annotations

import sys
from typing import Any

import click

from swarmlite.cli.lazy import Failed, flag
from swarmlite.cli.output.listing import filter_option


def prune_options(command: Any) -> Any:
    """--filter and -f (which is --force here)."""
    force = flag("-f", "--force", help="Do not prompt for confirmation.")
    return filter_option(force(command), short=False)


def confirm(warning: str, *, force: bool, what: str = "prune") -> None:
    """Go on only if the user says y; `force` does not ask. Without one, the status is 1, and
    `what` is said to have been cancelled.
    """
    if force:
        return
    click.echo(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ", nl=False)
    answer = sys.stdin.readline().strip().lower()
    if answer not in ("y", "yes"):
        if not sys.stdin.isatty():
            click.echo()
        raise Failed(f"{what} has been cancelled", 1)
