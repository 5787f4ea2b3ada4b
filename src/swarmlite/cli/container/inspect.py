"""`swarmlite container inspect`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.showing import inspect_each, inspect_options
from swarmlite.docker import container as shapes
from swarmlite.docker.values import Json
from swarmlite.proto.containers_pb2 import Container, InspectContainerRequest


@click.command("inspect", cls=Command)
@inspect_options
@flag("-s", "--size", help="Display total file sizes.")
@click.argument("names", nargs=-1, required=True, metavar="CONTAINER...")
@pass_session
def command(session: Session, names: tuple[str, ...], form: str, size: bool) -> int:
    """Display detailed information on one or more containers."""
    return inspect_each(names, lambda ref: inspect(session, ref, size=size), form)


def inspect(session: Session, ref: str, *, size: bool = False) -> Json:
    """One container. Raises NotFound."""
    request = InspectContainerRequest(ref=ref.removeprefix("/"), size=size)
    found: Container = client.call(session.containers.Inspect, request)
    return shapes.inspect(found, size=size)
