"""`swarmlite swarm ca`: the root certificate, and another one in its place."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.swarm.values import external_ca, external_ca_option, file_of, seconds_option
from swarmlite.errors import InvalidSpec, Unavailable
from swarmlite.model import units
from swarmlite.proto.control_pb2 import (
    GetRequest,
    ListNodesResponse,
    ListRequest,
    UpdateClusterRequest,
)
from swarmlite.proto.objects_pb2 import Cluster
from swarmlite.proto.types_pb2 import NodeStatus

LOOK_S = 0.5


@click.command("ca", cls=Command)
@flag("--rotate", help="Rotate the swarm CA - if no certificate or key are provided, new ones.")
@click.option("--ca-cert", metavar="FILE", help="The PEM-formatted root CA certificate to use.")
@click.option("--ca-key", metavar="FILE", help="The PEM-formatted root CA key to use.")
@seconds_option("--cert-expiry", "Validity period for node certificates.")
@external_ca_option
@flag("-d", "--detach", help="Exit at once instead of waiting for the rotation to end.")
@flag("-q", "--quiet", help="Suppress progress output.")
@pass_session
def command(session: Session, /, **values: Any) -> None:
    """Display and rotate the root CA."""
    if not values["rotate"]:
        for name in ("ca_cert", "ca_key", "cert_expiry", "external_ca", "detach"):
            if values[name]:
                raise InvalidSpec(f"--{name.replace('_', '-')} is only valid with --rotate")
        click.echo(_cluster(session).root_ca.ca_cert.decode(), nl=False)
        return
    client.call(session.control.UpdateCluster, _request(_cluster(session), values))
    if not values["detach"]:
        _wait(session, quiet=values["quiet"])
        click.echo(_cluster(session).root_ca.ca_cert.decode(), nl=False)


def _cluster(session: Session) -> Cluster:
    found: Cluster = client.call(session.control.GetCluster, GetRequest(ref="default"))
    return found


def _request(cluster: Cluster, values: dict[str, Any]) -> UpdateClusterRequest:
    spec = cluster.spec
    spec.ca.force_rotate += 1
    if values["ca_cert"]:
        spec.ca.signing_ca_cert = file_of("--ca-cert", values["ca_cert"])
    if values["ca_key"]:
        spec.ca.signing_ca_key = file_of("--ca-key", values["ca_key"])
    if values["cert_expiry"] is not None:
        expiry = units.duration(int(values["cert_expiry"] * units.SECOND))
        spec.ca.node_cert_expiry.CopyFrom(expiry)
    if values["external_ca"]:
        del spec.ca.external_cas[:]
        spec.ca.external_cas.extend(map(external_ca, values["external_ca"]))
    return UpdateClusterRequest(version=cluster.meta.version, spec=spec)


def _wait(session: Session, *, quiet: bool) -> None:
    """Until every node has renewed; says whom it waits for. The managers go on without it."""
    told = ""
    while True:
        try:
            if not _cluster(session).root_ca.HasField("rotation"):
                return
            line = _waits_for(session)
        except Unavailable as error:  # a manager that connects again, by its new certificate
            line = str(error)
        if line != told and not quiet:
            click.echo(line, file=sys.stderr)
            told = line
        time.sleep(LOOK_S)


def _waits_for(session: Session) -> str:
    reply: ListNodesResponse = client.call(session.control.ListNodes, ListRequest())
    down = [
        node.description.hostname or node.id
        for node in reply.nodes
        if node.status.state == NodeStatus.DOWN and not node.left
    ]
    if not down:
        return "waiting for the nodes to renew their certificates"
    return (
        f"waiting for the nodes to renew their certificates; down are {', '.join(sorted(down))}:"
        " they renew when they come back, and `swarmlite node rm` takes out those that do not"
    )
