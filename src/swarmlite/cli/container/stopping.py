"""What `stop` and `restart` are: one call a container, with a signal and a time to wait."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.container.each import for_each
from swarmlite.cli.flagtypes import SIGNAL, TIMEOUT
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.model.units import FOREVER_S
from swarmlite.proto.containers_pb2 import StopContainerRequest


def stopping(verb: str, help: str) -> click.Command:
    """The command of a verb; the RPC is called as it is."""

    @click.command(verb, cls=Command, help=help)
    @click.option("-s", "--signal", type=SIGNAL, help="Signal to send to the container.")
    @click.option(
        "-t",
        "--timeout",
        "--time",
        "timeout",
        type=TIMEOUT,
        help="Seconds to wait before killing the container.",
    )
    @click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
    @pass_session
    def command(
        session: Session, containers: tuple[str, ...], signal: str | None, timeout: int | None
    ) -> int:
        method = getattr(session.containers, verb.capitalize())

        def call(ref: str) -> None:
            request = StopContainerRequest(ref=ref, signal=signal or "", timeout_s=timeout)
            client.call(method, request, timeout_s=_call_timeout_s(timeout))

        return for_each(containers, call)

    return command


def _call_timeout_s(timeout: int | None) -> float:
    """How long the call may take: the container's own timeout is not known here."""
    return FOREVER_S if timeout is None or timeout < 0 else timeout + 120.0
