"""`swarmlite network inspect`."""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.network.listing import find
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.showing import inspect_each, inspect_options


@click.command("inspect", cls=Command)
@inspect_options
@flag("-v", "--verbose", help="Verbose output for diagnostics.")
@click.argument("names", nargs=-1, required=True, metavar="NETWORK...")
@pass_session
def command(session: Session, names: tuple[str, ...], form: str, verbose: bool) -> int:
    """Display detailed information on one or more networks."""
    return inspect_each(names, lambda ref: find(session, ref).inspect(), form)
