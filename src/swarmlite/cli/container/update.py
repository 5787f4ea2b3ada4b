"""`swarmlite container update` and `swarmlite update`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.container.each import for_each
from swarmlite.cli.container.flags.limits import UPDATABLE
from swarmlite.cli.container.flags.policies import restart_policy
from swarmlite.cli.container.flags.table import apply, options
from swarmlite.cli.lazy import Command, parsed, refused
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import (
    ContainerConfig,
    UpdateContainerRequest,
    UpdateContainerResponse,
)


@click.command("update", cls=Command)
@options(UPDATABLE)
@click.option("--restart", type=parsed(restart_policy), help="Restart policy to apply at an exit.")
@refused("--kernel-memory")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@pass_session
def command(session: Session, /, containers: tuple[str, ...], restart: Any, **values: Any) -> int:
    """Update configuration of one or more containers."""
    config = ContainerConfig()
    apply(config, UPDATABLE, values)
    if restart is None and not config.HasField("resources"):
        raise InvalidSpec("you must provide one or more flags when using this command")

    def update(ref: str) -> None:
        request = UpdateContainerRequest(ref=ref, restart=restart)
        if config.HasField("resources"):
            request.resources.CopyFrom(config.resources)
        reply: UpdateContainerResponse = client.call(session.containers.Update, request)
        for warning in reply.warnings:
            click.echo(f"WARNING: {warning}", err=True)

    return for_each(containers, update)
