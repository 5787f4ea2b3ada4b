"""`swarmlite container restart` and `swarmlite restart`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.container.each import for_each
from swarmlite.cli.container.stopping import stop_options, stop_timeout_s
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.containers_pb2 import StopContainerRequest


@click.command("restart", cls=Command)
@stop_options
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_session
def command(
    session: Session, containers: tuple[str, ...], signal: str | None, timeout: int | None
) -> int:
    """Restart one or more containers."""

    def restart(ref: str) -> None:
        request = StopContainerRequest(ref=ref, signal=signal or "", timeout_s=timeout)
        client.call(session.containers.Restart, request, timeout_s=stop_timeout_s(timeout))

    return for_each(containers, restart)
