"""`swarmlite volume inspect`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.inspect import values
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.showing import inspect_each, inspect_options
from swarmlite.errors import NotFound
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.volumes_pb2 import ListVolumesResponse


@click.command("inspect", cls=Command)
@inspect_options
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@pass_session
def command(session: Session, names: tuple[str, ...], form: str) -> int:
    """Display detailed information on one or more volumes."""
    reply: ListVolumesResponse = client.call(session.volumes.List, ListRequest())
    known = {volume.name: volume for volume in reply.volumes}

    def shape(name: str) -> dict[str, Any]:
        if name not in known:
            raise NotFound(f"no such volume: {name}")
        volume = known[name]
        return {
            "CreatedAt": values.time(volume.created),
            "Driver": volume.driver or "local",
            "Labels": dict(sorted(volume.labels.items())) or None,
            "Mountpoint": volume.mountpoint,
            "Name": volume.name,
            "Options": dict(sorted(volume.options.items())) or None,
            "Scope": "local",
        }

    return inspect_each(names, shape, form)
