"""`swarmlite container kill` and `swarmlite kill`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.container.each import for_each
from swarmlite.cli.flagtypes import SIGNAL
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.containers_pb2 import KillContainerRequest


@click.command("kill", cls=Command)
@click.option("-s", "--signal", type=SIGNAL, help="Signal to send (SIGKILL).")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_session
def command(session: Session, containers: tuple[str, ...], signal: str | None) -> int:
    """Kill one or more running containers."""
    method = session.containers.Kill
    return for_each(
        containers,
        lambda ref: client.call(method, KillContainerRequest(ref=ref, signal=signal or "")),
    )
