"""`swarmlite volume create`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, parsed
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.volumes_pb2 import LocalVolume
from swarmlite.stack.syntax import fields


@click.command("create", cls=Command)
@click.option("-d", "--driver", default="local", help="Volume driver name (local).")
@click.option(
    "--label", multiple=True, type=parsed(fields.pair, "list"), help="Set volume metadata."
)
@click.option("-o", "--opt", multiple=True, type=parsed(fields.pair, "map"), help="Driver options.")
@click.argument("name", required=False)
@pass_session
def command(session: Session, /, name: str | None, **values: Any) -> None:
    """Create a volume.

    \b
    Examples:
      swarmlite volume create data
      swarmlite volume create -o type=nfs -o o=addr=192.0.2.5,rw -o device=:/export/data shared
    """
    volume = LocalVolume(name=name or "", driver=values["driver"])
    volume.labels.update(dict(values["label"]))
    volume.options.update(dict(values["opt"]))
    created: LocalVolume = client.call(session.volumes.Create, volume)
    click.echo(created.name)
