"""`swarmlite swarm join-token`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag, one_of
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import PermissionDenied
from swarmlite.proto.control_pb2 import (
    GetRequest,
    ListNodesResponse,
    ListRequest,
    UpdateClusterRequest,
)
from swarmlite.proto.objects_pb2 import Cluster

_TEXT = """To add a {role} to this swarm, run the following command:

    swarmlite swarm join --token {token} {addr}
"""


@click.command("join-token", cls=Command)
@flag("--rotate", help="Rotate join token.")
@flag("-q", "--quiet", help="Only display token.")
@click.argument("role", type=one_of(worker="worker", manager="manager"), metavar="(worker|manager)")
@pass_session
def command(session: Session, role: str, rotate: bool, quiet: bool) -> None:
    """Manage join tokens.

    \b
    Examples:
      swarmlite swarm join-token worker
      swarmlite swarm join-token --rotate -q manager
    """
    cluster: Cluster = client.call(session.control.GetCluster, GetRequest(ref="default"))
    if rotate:
        request = UpdateClusterRequest(
            version=cluster.meta.version,
            rotate_worker_token=role == "worker",
            rotate_manager_token=role == "manager",
        )
        cluster = client.call(session.control.UpdateCluster, request)
    token = getattr(cluster.root_ca.join_tokens, role)
    if not token:  # the managers leave it out for who may not see it
        raise PermissionDenied("join tokens are for an admin of the swarm")
    if quiet:
        click.echo(token)
        return
    if rotate:
        click.echo(f"Successfully rotated {role} join token.\n")
    click.echo(_TEXT.format(role=role, token=token, addr=manager_addr(session)))


def manager_addr(session: Session) -> str:
    """This node's address for other nodes; else any manager's."""
    me = session.membership.get("node_id")
    reply: ListNodesResponse = client.call(session.control.ListNodes, ListRequest())
    managers = [node for node in reply.nodes if node.manager_status.addr]
    managers.sort(key=lambda node: node.id != me)
    return managers[0].manager_status.addr if managers else "HOST:2377"
