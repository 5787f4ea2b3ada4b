"""`swarmlite container wait` and `swarmlite wait`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.container.each import for_each
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.model.units import FOREVER_S
from swarmlite.proto.containers_pb2 import WaitContainerRequest, WaitContainerResponse


@click.command("wait", cls=Command)
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_session
def command(session: Session, containers: tuple[str, ...]) -> int:
    """Block until one or more containers stop, then print their exit codes."""

    def wait(ref: str) -> None:
        reply: WaitContainerResponse = client.call(
            session.containers.Wait, WaitContainerRequest(ref=ref), timeout_s=FOREVER_S
        )
        if reply.error:
            click.echo(reply.error, err=True)
        click.echo(reply.exit_code)

    return for_each(containers, wait, echo=False)
