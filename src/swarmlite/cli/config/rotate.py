"""`swarmlite config rotate`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.rotating import rotate
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.control_pb2 import CreateConfigRequest
from swarmlite.proto.objects_pb2 import Config
from swarmlite.proto.specs_pb2 import ConfigSpec


@click.command("rotate", cls=Command)
@flag("-d", "--detach", help="Exit immediately instead of waiting for the services to converge.")
@click.argument("name", metavar="CONFIG")
@click.argument("file", metavar="file|-", required=False)
@pass_session
def command(session: Session, /, name: str, file: str | None, detach: bool) -> None:
    """Make a new version of a config and roll the services that use it.

    It is called NAME.v2, NAME.v3 and so on; services find it under the same target as before. The
    older ones stay, for rollbacks, until they are removed.

    \b
    Example:
      swarmlite config rotate nginx.conf ./nginx.conf
    """

    def create(called: str, data: bytes, labels: dict[str, str], before: Config) -> Config:
        spec = ConfigSpec(data=data)
        if before.spec.HasField("templating"):
            spec.templating.CopyFrom(before.spec.templating)
        spec.annotations.name = called
        spec.annotations.labels.update(labels)
        made: Config = client.call(session.control.CreateConfig, CreateConfigRequest(spec=spec))
        return made

    rotate(session, "config", name, file, create, wait=not detach)
