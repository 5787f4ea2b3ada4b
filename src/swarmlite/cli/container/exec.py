"""`swarmlite container exec` and `swarmlite exec`: a command in a container of this host."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.container import exits
from swarmlite.cli.container.attaching import detach_keys_option
from swarmlite.cli.lazy import Command, Failed, flag
from swarmlite.cli.reaching import WRITE, on_task
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.terminal import raw
from swarmlite.cli.terminal.forwarding import forwarding
from swarmlite.cli.terminal.streams import DETACHED, Streams
from swarmlite.errors import FailedPrecondition, SwarmliteError
from swarmlite.proto.containers_pb2 import ExecConfig, ExecInput, ExecRef, ResizeRequest
from swarmlite.stack.syntax import small


@click.command("exec", cls=Command, swallow=True)
@flag("-d", "--detach", help="Detached mode: run command in the background.")
@flag("-i", "--interactive", help="Keep STDIN open even if not attached.")
@flag("-t", "--tty", help="Allocate a pseudo-TTY.")
@flag("--privileged", help="Give extended privileges to the command.")
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="Set environment variables.")
@click.option("--env-file", multiple=True, help="Read in a file of environment variables.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Username or UID.")
@click.option("-w", "--workdir", default="", metavar="DIR", help="Working directory.")
@detach_keys_option
@click.argument("container")
@click.argument(
    "words", metavar="COMMAND [ARG...]", nargs=-1, required=True, type=click.UNPROCESSED
)
@pass_session
def command(session: Session, /, container: str, words: tuple[str, ...], **values: Any) -> int:
    """Execute a command in a running container; its exit code becomes this command's.

    CONTAINER is one of this host, or a task of the swarm on any node.

    \b
    Examples:
      swarmlite exec -it shell sh
      swarmlite exec web.1 cat /etc/hosts
    """
    config = exec_config(container, words, values)
    if not config.detach:
        raw.check_terminal(config.tty and config.attach_stdin)

    def run(there: Session, ref: str) -> int:
        config.container = ref
        if config.detach:
            return _run(partial(_detached, there), config)
        return _run(partial(_attended, there, values["detach_keys"]), config)

    return on_task(session, container, WRITE, run)


def exec_config(container: str, words: tuple[str, ...], values: dict[str, Any]) -> ExecConfig:
    """What the command line asks for. Raises InvalidSpec, OSError for a file."""
    lines = [line for path in values["env_file"] for line in small.read_env_file(Path(path))]
    config = ExecConfig(
        container=container,
        command=words,
        env=small.environment([*lines, *values["env"]], dict(os.environ)),
        user=values["user"],
        dir=values["workdir"],
        tty=values["tty"],
        privileged=values["privileged"],
        detach=values["detach"],
    )
    if not config.detach:
        config.attach_stdin = values["interactive"]
        config.attach_stdout = config.attach_stderr = True
    if config.tty:
        config.console_height, config.console_width = raw.size()
    return config


def _run(how: Any, config: ExecConfig) -> int:
    """Its exit code; a shell's when the command could not be run."""
    try:
        code: int = how(config)
    except FailedPrecondition as error:
        if not str(error).startswith(("exec: ", "unable to find ")):
            raise
        found = exits.code_of(error)
        raise Failed(str(error), exits.NOT_RUN if found == exits.FAILED else found) from error
    return code


def _detached(session: Session, config: ExecConfig) -> int:
    made: ExecRef = client.call(session.containers.CreateExec, config)
    request = ExecInput(exec_id=made.id, detach=True)
    for _ in client.stream(session.containers.Exec(iter([request]))):
        pass
    return 0


def _attended(session: Session, detach_keys: bytes, config: ExecConfig) -> int:
    first, exec_id = ExecInput(config=config), ""
    if config.tty:
        # Its terminal is resized by its id, so it is made first.
        exec_id = client.call(session.containers.CreateExec, config).id
        first = ExecInput(exec_id=exec_id)
    stdin, typed = config.attach_stdin, config.tty and config.attach_stdin
    streams = Streams(ExecInput, first, stdin=stdin, detach_keys=detach_keys if typed else None)

    def resize(height: int, width: int) -> None:
        if height and width:
            request = ResizeRequest(ref=exec_id, height=height, width=width)
            client.call(session.containers.ResizeExec, request)

    with forwarding(resize=resize if config.tty else None), raw.raw(typed):
        try:
            streams.open(session.containers.Exec)
            if config.tty and raw.size() != (config.console_height, config.console_width):
                with suppress(SwarmliteError):  # it has ended already
                    resize(*raw.size())
            streams.begin()
            code = streams.show()
        finally:
            streams.close()
    if streams.detached:
        click.echo(DETACHED, err=True)
        return 1
    return code or 0
