"""`swarmlite port-forward`: ports of this host that lead to a task's, wherever it runs."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from dataclasses import dataclass

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.reaching import CHUNK_BYTES, connector
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import AlreadyExists, InvalidSpec, SwarmliteError
from swarmlite.model.numerals import decimal
from swarmlite.proto.control_pb2 import GetRequest, TunnelTo


@dataclass(frozen=True)
class Forward:
    """`local` 0 is any that is free."""

    local: int
    remote: int


@click.command("port-forward", cls=Command)
@click.option("--address", default="127.0.0.1", help="Address of this host to listen at.")
@click.argument("task")
@click.argument("ports", nargs=-1, required=True, metavar="[LOCAL_PORT:]PORT...")
@pass_session
def command(session: Session, task: str, ports: tuple[str, ...], address: str) -> None:
    """Forward ports of this host to a task, until interrupted.

    They lead to 127.0.0.1 of the task, so that what it does not publish is reached too. A name such
    as web.1 means, at each connection, the task that fills the place then.

    \b
    Examples:
      swarmlite port-forward web.1 8080:80
      swarmlite port-forward db.1 5432 :9187
    """
    wanted = [parse(text) for text in ports]
    client.call(session.control.GetTask, GetRequest(ref=task))
    with contextlib.ExitStack() as stack:
        waiting = stack.enter_context(selectors.DefaultSelector())
        for forward in wanted:
            listening = stack.enter_context(_listen(address, forward.local))
            waiting.register(listening, selectors.EVENT_READ, forward.remote)
            here = listening.getsockname()[1]
            click.echo(f"Forwarding from {address}:{here} to port {forward.remote} of {task}")
        while True:
            for key, _ in waiting.select():
                assert isinstance(key.fileobj, socket.socket)
                connection, _ = key.fileobj.accept()
                to = TunnelTo(task=task, port=key.data)
                work = threading.Thread(target=_serve, args=(session, to, connection), daemon=True)
                work.start()


def parse(text: str) -> Forward:
    """[LOCAL:]PORT. Raises InvalidSpec."""
    local, colon, remote = text.rpartition(":")
    if not colon:
        local = remote
    return Forward(_port(local, text) if local else 0, _port(remote, text))


def _port(word: str, text: str) -> int:
    if (port := decimal(word, 1, 65535)) is None:
        raise InvalidSpec(f"{text[:60]!r}: expected [LOCAL_PORT:]PORT, each from 1 to 65535")
    return port


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        raise AlreadyExists(f"cannot listen at {address}:{port}: {error.strerror}") from error


def _serve(session: Session, to: TunnelTo, connection: socket.socket) -> None:
    with connection:
        try:
            tunnel = connector(session, to)()
        except SwarmliteError as error:
            click.echo(f"port {to.port}: {error}", err=True)
            return
        with tunnel:
            back = threading.Thread(target=_copy, args=(tunnel, connection), daemon=True)
            back.start()
            _copy(connection, tunnel)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one of them is gone, and so is what the other sends
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
