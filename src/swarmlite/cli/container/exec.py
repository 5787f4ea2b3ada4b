"""`swarmlite container exec` and `swarmlite exec`: a command in a container of this host."""

from __future__ import annotations

import os
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import FailedPrecondition
from swarmlite.proto.containers_pb2 import ExecConfig, ExecInput
from swarmlite.proto.control_pb2 import LOG_STDERR

CHUNK = 32 * 1024


NOT_RUN, NOT_FOUND = 126, 127
"""A shell's exit codes for a command that is not a program, and for one that is not there."""


@click.command("exec", cls=Command, swallow=True)
@flag("-i", "--interactive", help="Keep STDIN open.")
@flag("-t", "--tty", help="Allocate a terminal.")
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="Set environment variables.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="User name or UID.")
@click.option("-w", "--workdir", default="", metavar="DIR", help="Working directory.")
@click.argument("container")
@click.argument(
    "words", metavar="COMMAND [ARG...]", nargs=-1, required=True, type=click.UNPROCESSED
)
@pass_session
def command(
    session: Session,
    interactive: bool,
    tty: bool,
    env: tuple[str, ...],
    user: str,
    workdir: str,
    container: str,
    words: tuple[str, ...],
) -> None:
    """Run a command in a running container of this host; its exit code becomes ours."""
    start = ExecConfig(container=container, command=words, env=env, user=user, dir=workdir, tty=tty)
    try:
        with _raw_terminal(tty and interactive):
            code = _converse(session, start, interactive)
    except FailedPrecondition as error:
        if not str(error).startswith("exec: "):
            raise
        click.echo(str(error), err=True)
        code = NOT_FOUND if "not found" in str(error) or "no such file" in str(error) else NOT_RUN
    sys.exit(code)


def _converse(session: Session, start: ExecConfig, interactive: bool) -> int:
    # A call's requests are read by gRPC's own thread until None comes.
    requests: SimpleQueue[ExecInput | None] = SimpleQueue()
    requests.put(ExecInput(config=start))
    if interactive:
        threading.Thread(target=_feed, args=(requests,), daemon=True).start()
    else:
        requests.put(ExecInput(stdin_close=True))
    code = 0
    try:
        for output in client.stream(session.containers.Exec(iter(requests.get, None))):
            if output.data:
                stream = sys.stderr if output.stream == LOG_STDERR else sys.stdout
                stream.buffer.write(output.data)
                stream.buffer.flush()
            if output.HasField("exit_code"):
                code = output.exit_code
    finally:
        requests.put(None)
    return code


def _feed(requests: SimpleQueue[ExecInput | None]) -> None:
    while chunk := os.read(sys.stdin.fileno(), CHUNK):
        requests.put(ExecInput(stdin=chunk))
    requests.put(ExecInput(stdin_close=True))


@contextmanager
def _raw_terminal(wanted: bool) -> Iterator[None]:
    """Keys go through as they are typed, where there is a terminal."""
    if not (wanted and sys.stdin.isatty()):
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
