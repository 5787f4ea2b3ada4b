"""`swarmlite swarm unlock`: the key from a terminal, unseen, or as a line of standard input."""

from __future__ import annotations

import sys

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import FailedPrecondition, InvalidSpec


@click.command("unlock", cls=Command)
@pass_session
def command(session: Session) -> None:
    """Unlock swarm."""
    state = session.request({"op": "status"}).get("swarm")
    if state == "inactive":
        raise FailedPrecondition("This node is not part of a swarm")
    if state != "locked":
        raise FailedPrecondition("swarm is not locked")
    if sys.stdin.isatty():
        key = click.prompt("Please enter unlock key", hide_input=True)
    else:
        key = sys.stdin.readline()
    if not key.strip():
        raise InvalidSpec("no unlock key was given: type it, or give it as a line of stdin")
    session.request(
        {"op": "unlock", "key": key.strip()},
        progress=lambda line: click.echo(line, file=sys.stderr),
    )
