"""`swarmlite container ls` and `swarmlite ps`: the containers of this host."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Listing, filters_of, list_options, no_trunc_option
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.containers_pb2 import (
    Container,
    ContainerState,
    ListContainersRequest,
    ListContainersResponse,
)

LISTING = Listing(
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    {
        "ID": "CONTAINER ID",
        "Image": "IMAGE",
        "Command": "COMMAND",
        "RunningFor": "CREATED",
        "Status": "STATUS",
        "Ports": "PORTS",
        "Names": "NAMES",
        "State": "STATE",
        "Pid": "PID",
        "Labels": "LABELS",
    },
)
COMMAND_WIDTH = 20


@click.command("ls", cls=Command)
@list_options
@no_trunc_option
@flag("-a", "--all", help="Show all containers (default shows just running).")
@pass_session
def command(
    session: Session, filters: Any, form: str, quiet: bool, no_trunc: bool, all: bool
) -> None:
    """List containers."""
    request = ListContainersRequest(all=all, filters=filters_of(filters))
    reply: ListContainersResponse = client.call(session.containers.List, request)
    LISTING.print([row(c, no_trunc) for c in reply.containers], form, quiet=quiet)


def row(container: Container, no_trunc: bool = False, now: float | None = None) -> Any:
    """One container's row."""
    command = " ".join(container.args)
    shown = command if no_trunc else human.ellipsis(command, COMMAND_WIDTH)
    state = container.state
    word = ContainerState.Status.Name(state.status).lower()
    status = word.capitalize()
    if state.status == ContainerState.RUNNING:
        status = f"Up {human.ago(state.started, now).removesuffix(' ago').lower()}"
    elif state.status == ContainerState.EXITED:
        status = f"Exited ({state.exit_code})"
    return {
        "ID": container.id if no_trunc else human.short_id(container.id),
        "Image": human.familiar_image(container.config.spec.image),
        "Command": f'"{shown}"',
        "RunningFor": human.ago(container.created, now),
        "Status": status,
        "Ports": "",
        "Names": container.config.name,
        "State": word,
        "Pid": state.pid,
        "Labels": ",".join(f"{k}={v}" for k, v in sorted(container.labels.items())),
    }
