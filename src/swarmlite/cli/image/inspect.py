"""`swarmlite image inspect`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.showing import inspect_each, inspect_options
from swarmlite.docker import image as shapes
from swarmlite.docker.values import Json
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.proto.images_pb2 import ImageDetails


@click.command("inspect", cls=Command)
@inspect_options
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@pass_session
def command(session: Session, names: tuple[str, ...], form: str) -> int:
    """Display detailed information on one or more images."""
    return inspect_each(names, lambda ref: inspect(session, ref), form)


def inspect(session: Session, ref: str) -> Json:
    """One image. Raises NotFound."""
    found: ImageDetails = client.call(session.images.Inspect, GetRequest(ref=ref))
    shown = shapes.inspect(found)
    if described := shapes.descriptor(found):
        shown["Descriptor"] = described
    if found.index_digest:
        shown["Manifests"] = shapes.manifests(found)
    return shown
