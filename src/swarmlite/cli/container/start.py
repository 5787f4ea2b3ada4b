"""`swarmlite container start` and `swarmlite start`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.container import exits
from swarmlite.cli.container.attaching import (
    Waiting,
    at_terminal,
    attachment,
    detach_keys_option,
    resize_now,
)
from swarmlite.cli.container.each import for_each
from swarmlite.cli.lazy import Command, Failed, flag, refused
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.terminal import raw
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.proto.containers_pb2 import (
    AttachInput,
    Container,
    ContainerRef,
    InspectContainerRequest,
    WaitContainerRequest,
)

TIMEOUT_S = 120.0


@click.command("start", cls=Command)
@flag("-a", "--attach", help="Attach STDOUT/STDERR and forward signals.")
@flag("-i", "--interactive", help="Attach container's STDIN.")
@detach_keys_option
@refused("--checkpoint", "--checkpoint-dir")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_session
def command(
    session: Session,
    containers: tuple[str, ...],
    attach: bool,
    interactive: bool,
    detach_keys: bytes,
) -> int:
    """Start one or more stopped containers."""
    if not attach and not interactive:
        return for_each(containers, lambda ref: _start(session, ref))
    if len(containers) > 1:
        raise InvalidSpec("you cannot start and attach multiple containers at once")
    return _attended(session, containers[0], interactive, detach_keys)


def _start(session: Session, ref: str) -> None:
    client.call(session.containers.Start, ContainerRef(ref=ref), timeout_s=TIMEOUT_S)


def _attended(session: Session, ref: str, interactive: bool, detach_keys: bytes) -> int:
    found: Container = client.call(session.containers.Inspect, InspectContainerRequest(ref=ref))
    tty = found.config.spec.tty
    stdin = interactive and found.config.spec.open_stdin
    raw.check_terminal(tty and stdin)
    removed = found.config.auto_remove
    condition = WaitContainerRequest.REMOVED if removed else WaitContainerRequest.NEXT_EXIT
    start = AttachInput.Start(ref=found.id, stdin=stdin, stdout=True, stderr=True, stream=True)
    with at_terminal(session, found.id, tty=tty, stdin=stdin, sig_proxy=True):
        streams = attachment(session, start, tty=tty, detach_keys=detach_keys)
        waiting = Waiting(session, found.id, condition)
        try:
            try:
                _start(session, found.id)
            except SwarmliteError as error:
                raise Failed(str(error), exits.code_of(error)) from error
            if tty:
                resize_now(session, found.id)
            streams.begin()
            streams.show()
            return 0 if streams.detached else waiting.exit_code()
        finally:
            streams.close()
            waiting.cancel()
