"""`swarmlite swarm unlock-key`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.swarm.values import how_to_unlock
from swarmlite.errors import FailedPrecondition
from swarmlite.proto.control_pb2 import GetRequest, GetUnlockKeyRequest, UpdateClusterRequest
from swarmlite.proto.objects_pb2 import Cluster


@click.command("unlock-key", cls=Command)
@flag("--rotate", help="Rotate unlock key.")
@flag("-q", "--quiet", help="Only display token.")
@pass_session
def command(session: Session, rotate: bool, quiet: bool) -> None:
    """Manage the unlock key."""
    if rotate:
        cluster: Cluster = client.call(session.control.GetCluster, GetRequest(ref="default"))
        if not cluster.spec.encryption.auto_lock_managers:
            raise FailedPrecondition("cannot rotate because autolock is not turned on")
        request = UpdateClusterRequest(version=cluster.meta.version, rotate_unlock_key=True)
        client.call(session.control.UpdateCluster, request)
        if not quiet:
            click.echo("Successfully rotated manager unlock key.\n")
    key = client.call(session.control.GetUnlockKey, GetUnlockKeyRequest()).unlock_key
    if not key:
        raise FailedPrecondition("no unlock key is set")
    click.echo(key if quiet else how_to_unlock(key))
