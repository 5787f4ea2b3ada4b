"""`swarmlite container run` and `swarmlite run`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

import click

from swarmlite.cli import client
from swarmlite.cli.container import exits
from swarmlite.cli.container.attaching import (
    Waiting,
    at_terminal,
    attachment,
    detach_keys_option,
    resize_now,
    sig_proxy_option,
)
from swarmlite.cli.container.creating import create, creating_options
from swarmlite.cli.container.flags.configuration import attach_to, build, run_options
from swarmlite.cli.container.running import Running
from swarmlite.cli.lazy import Command, Failed, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.terminal import raw
from swarmlite.errors import SwarmliteError, Unavailable
from swarmlite.proto.containers_pb2 import (
    AttachInput,
    ContainerConfig,
    ContainerRef,
    RemoveContainerRequest,
    WaitContainerRequest,
)

SHORT = 12
GONE = (
    "swarmlite: the engine of this host went away; container {id} goes on without this terminal:"
    " swarmlite attach {id}"
)


@click.command("run", cls=Command, swallow=True)
@run_options
@creating_options
@flag("-d", "--detach", help="Run container in background and print container ID.")
@detach_keys_option
@sig_proxy_option
@click.argument("image")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG...]")
@pass_session
def command(session: Session, /, image: str, args: tuple[str, ...], **values: Any) -> int:
    """Create and run a new container from an image.

    \b
    Examples:
      swarmlite run -it --rm alpine sh
      swarmlite run -d --name web --publish 8080:80 -v data:/data nginx
      swarmlite run --memory 256m --cpus 0.5 --read-only worker:1
    """
    try:
        config = build(image, args, values)
        attach_to(config, values, detach=values["detach"])
        raw.check_terminal(config.spec.tty and config.attach_stdin)
        if config.spec.tty:
            config.console_height, config.console_width = raw.size()
        attached = config.attach_stdin or config.attach_stdout or config.attach_stderr
        running = None
        if attached and not values["detach"] and not config.spec.tty:
            running = Running(config)
        container_id = create(session, config, values, running.create if running else None)
    except (SwarmliteError, OSError) as error:
        _fail(error, exits.FAILED)
    if values["detach"] or not attached:
        _start(session, container_id, config)
        click.echo(container_id)
        return 0
    try:
        if running is not None:
            return _in_one_call(session, container_id, config, values, running)
        return _attended(session, container_id, config, values)
    except Unavailable as error:  # nobody knows the container's code
        raise Failed(GONE.format(id=container_id[:SHORT]), exits.FAILED) from error
    except SwarmliteError as error:
        _fail(error, exits.FAILED)


def _in_one_call(
    session: Session,
    container_id: str,
    config: ContainerConfig,
    values: Mapping[str, Any],
    running: Running,
) -> int:
    """As `_attended`, without a terminal: the call that made it starts it, and tells its end."""
    with at_terminal(session, container_id, tty=False, stdin=False, sig_proxy=values["sig_proxy"]):
        try:
            running.start()
        except SwarmliteError as error:
            _forget(session, container_id, config)
            _fail(error, exits.code_of(error))
        if not (config.attach_stdout or config.attach_stderr):
            click.echo(container_id)
        return running.show() or 0


def _attended(
    session: Session, container_id: str, config: ContainerConfig, values: Mapping[str, Any]
) -> int:
    """Start it with its streams on ours; its exit code, 0 when the user detached."""
    tty, stdin = config.spec.tty, config.attach_stdin
    start = AttachInput.Start(
        ref=container_id,
        stdin=stdin,
        stdout=config.attach_stdout,
        stderr=config.attach_stderr,
        stream=True,
    )
    condition = (
        WaitContainerRequest.REMOVED if config.auto_remove else WaitContainerRequest.NEXT_EXIT
    )
    with at_terminal(session, container_id, tty=tty, stdin=stdin, sig_proxy=values["sig_proxy"]):
        try:
            streams = attachment(session, start, tty=tty, detach_keys=values["detach_keys"])
            waiting = Waiting(session, container_id, condition)
        except SwarmliteError as error:
            _forget(session, container_id, config)
            _fail(error, exits.FAILED)
        try:
            _start(session, container_id, config)
            if tty:
                resize_now(session, container_id)
            streams.begin()
            if not (config.attach_stdout or config.attach_stderr):
                click.echo(container_id)
            streams.show()
            return 0 if streams.detached else waiting.exit_code()
        finally:
            streams.close()
            waiting.cancel()


def _start(session: Session, container_id: str, config: ContainerConfig) -> None:
    """Start it; what could not be started is forgotten under --rm, and ends this process."""
    try:
        client.call(session.containers.Start, ContainerRef(ref=container_id))
    except SwarmliteError as error:
        _forget(session, container_id, config)
        _fail(error, exits.code_of(error))


def _forget(session: Session, container_id: str, config: ContainerConfig) -> None:
    if config.auto_remove:
        with suppress(SwarmliteError):
            request = RemoveContainerRequest(ref=container_id, force=True, volumes=True)
            client.call(session.containers.Remove, request)


def _fail(error: Exception, code: int) -> NoReturn:
    line = str(error)
    if isinstance(error, OSError) and error.filename:
        line = f"{error.filename}: {error.strerror}"
    raise Failed(f"swarmlite: {line}", code) from error
