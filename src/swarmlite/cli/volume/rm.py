"""`swarmlite volume rm`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.removing import remove_each
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.volumes_pb2 import RemoveVolumeRequest


@click.command("rm", cls=Command)
@flag("-f", "--force", help="Do not fail for volumes that are not there.")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@pass_session
def command(session: Session, names: tuple[str, ...], force: bool) -> int:
    """Remove one or more volumes."""
    engine = session.volumes
    return remove_each(
        names,
        lambda ref: client.call(engine.Remove, RemoveVolumeRequest(ref=ref, force=force)),
        force=force,
    )
