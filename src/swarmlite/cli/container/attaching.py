"""What `run`, `start -a` and `attach` share: a container's streams tied to this terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import flag, parsed
from swarmlite.cli.session import Session
from swarmlite.cli.terminal import raw
from swarmlite.cli.terminal.forwarding import forwarding
from swarmlite.cli.terminal.streams import Streams
from swarmlite.errors import SwarmliteError
from swarmlite.model import detach_keys as keys
from swarmlite.proto.containers_pb2 import (
    AttachInput,
    KillContainerRequest,
    ResizeRequest,
    WaitContainerRequest,
    WaitContainerResponse,
)


def detach_keys_option(command: Any) -> Any:
    """--detach-keys."""
    return click.option(
        "--detach-keys",
        type=parsed(keys.parse),
        default=keys.DEFAULT,
        show_default=False,
        help="Override the key sequence for detaching a container.",
    )(command)


def sig_proxy_option(command: Any) -> Any:
    """--sig-proxy."""
    return flag("--sig-proxy", default=True, help="Proxy received signals to the process (true).")(
        command
    )


def attachment(
    session: Session, start: AttachInput.Start, *, tty: bool, detach_keys: bytes
) -> Streams:
    """The open streams of a container; nothing is read from standard input before `begin`."""
    typed = tty and start.stdin and raw.is_terminal()
    streams = Streams(
        AttachInput,
        AttachInput(start=start),
        stdin=start.stdin,
        detach_keys=detach_keys if typed else None,
    )
    streams.open(session.containers.Attach)
    return streams


@contextmanager
def at_terminal(
    session: Session, ref: str, *, tty: bool, stdin: bool, sig_proxy: bool
) -> Iterator[None]:
    """While inside, this terminal is the container's: raw, its size and signals passed on."""

    def kill(name: str) -> None:
        client.call(session.containers.Kill, KillContainerRequest(ref=ref, signal=name))

    resize = partial(_resize, session, ref)
    with (
        forwarding(kill=kill if sig_proxy else None, resize=resize if tty else None),
        raw.raw(tty and stdin),
    ):
        yield


def resize_now(session: Session, ref: str) -> None:
    """Give the container's terminal the size of this one."""
    with suppress(SwarmliteError):
        _resize(session, ref, *raw.size())


def _resize(session: Session, ref: str, height: int, width: int) -> None:
    if height and width:
        request = ResizeRequest(ref=ref, height=height, width=width)
        client.call(session.containers.Resize, request)


class Waiting:
    """A wait that is in place before the container is started."""

    def __init__(
        self, session: Session, ref: str, condition: WaitContainerRequest.Condition.ValueType
    ) -> None:
        request = WaitContainerRequest(ref=ref, condition=condition)
        self._call: Any = session.wait_begun(request)

    def exit_code(self) -> int:
        """Wait; what the container has exited with."""
        code = 0
        replies: Iterator[WaitContainerResponse] = client.stream(self._call)
        for reply in replies:
            code = reply.exit_code
            if reply.error:
                click.echo(reply.error, err=True)
        return code

    def cancel(self) -> None:
        """Give it up."""
        self._call.cancel()
