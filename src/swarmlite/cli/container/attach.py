"""`swarmlite container attach` and `swarmlite attach`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.container.attaching import (
    Waiting,
    at_terminal,
    attachment,
    detach_keys_option,
    resize_now,
    sig_proxy_option,
)
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.terminal import raw
from swarmlite.cli.terminal.streams import DETACHED
from swarmlite.errors import FailedPrecondition
from swarmlite.proto.containers_pb2 import (
    AttachInput,
    Container,
    ContainerState,
    InspectContainerRequest,
    WaitContainerRequest,
)

_REASONS = {
    ContainerState.PAUSED: "cannot attach to a paused container, unpause it first",
    ContainerState.RESTARTING: "cannot attach to a restarting container, wait until it is running",
}


@click.command("attach", cls=Command)
@flag("--no-stdin", help="Do not attach STDIN.")
@detach_keys_option
@sig_proxy_option
@click.argument("container")
@pass_session
def command(
    session: Session, container: str, no_stdin: bool, detach_keys: bytes, sig_proxy: bool
) -> int:
    """Attach standard input, output, and error streams to a running container."""
    request = InspectContainerRequest(ref=container)
    found: Container = client.call(session.containers.Inspect, request)
    if found.state.status != ContainerState.RUNNING:
        fallback = "cannot attach to a stopped container, start it first"
        raise FailedPrecondition(_REASONS.get(found.state.status, fallback))
    spec = found.config.spec
    stdin = spec.open_stdin and not no_stdin
    raw.check_terminal(spec.tty and stdin)
    start = AttachInput.Start(ref=found.id, stdin=stdin, stdout=True, stderr=True, stream=True)
    condition = WaitContainerRequest.NOT_RUNNING
    with at_terminal(session, found.id, tty=spec.tty, stdin=stdin, sig_proxy=sig_proxy):
        waiting = Waiting(session, found.id, condition)
        streams = attachment(session, start, tty=spec.tty, detach_keys=detach_keys)
        try:
            if spec.tty:
                resize_now(session, found.id)
            streams.begin()
            code = streams.show()
            if not streams.detached:
                return waiting.exit_code() if code is None else code
        finally:
            streams.close()
            waiting.cancel()
    click.echo(DETACHED, err=True)
    return 1
