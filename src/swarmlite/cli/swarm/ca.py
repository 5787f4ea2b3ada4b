"""`swarmlite swarm ca`: the root certificate; its rotation is refused for now, by name."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag, refused
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.proto.objects_pb2 import Cluster


@click.command("ca", cls=Command)
@flag("--rotate", help="Rotate the swarm CA (not supported yet).")
@flag("-q", "--quiet", help="Suppress progress output.")
@refused("--ca-cert", "--ca-key", "--cert-expiry", "--external-ca")
@pass_session
def command(session: Session, /, **values: Any) -> None:
    """Display the root CA."""
    if values["rotate"]:
        raise InvalidSpec("--rotate: not supported yet")
    cluster: Cluster = client.call(session.control.GetCluster, GetRequest(ref="default"))
    click.echo(cluster.root_ca.ca_cert.decode(), nl=False)
