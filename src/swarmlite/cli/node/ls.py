"""`swarmlite node ls`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output.listing import Listing, filters_of, list_options
from swarmlite.cli.session import Session, pass_session
from swarmlite.model.naturally import naturally
from swarmlite.proto.control_pb2 import ListNodesResponse, ListRequest
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import ManagerStatus, NodeStatus

LISTING = Listing(
    "{{.ID}} {{if .Self}}*{{else}} {{end}}\t{{.Hostname}}\t{{.Status}}\t{{.Availability}}"
    "\t{{.ManagerStatus}}\t{{.EngineVersion}}",
    {
        "ID": "ID",
        "Self": "",
        "Hostname": "HOSTNAME",
        "Status": "STATUS",
        "Availability": "AVAILABILITY",
        "ManagerStatus": "MANAGER STATUS",
        "EngineVersion": "ENGINE VERSION",
        "TLSStatus": "TLS STATUS",
    },
)


@click.command("ls", cls=Command)
@list_options
@pass_session
def command(session: Session, filters: Any, form: str, quiet: bool) -> None:
    """List nodes in the swarm.

    \b
    Examples:
      swarmlite node ls --filter role=manager
      swarmlite node ls --format '{{.Hostname}} {{.Status}}'
    """
    request = ListRequest(filters=filters_of(filters))
    reply: ListNodesResponse = client.call(session.control.ListNodes, request)
    for warning in reply.warnings:
        click.echo(f"WARNING: {warning}", err=True)
    if reply.stale:
        click.echo(
            "warning: the managers have no quorum: this may be old; if the others are gone for"
            " good, `swarmlite swarm init --force-new-cluster` goes on without them",
            err=True,
        )
    me = str(session.membership.get("node_id") or "")
    ordered = sorted(reply.nodes, key=lambda n: (naturally(n.description.hostname), n.id))
    LISTING.print([row(node, me) for node in ordered], form, quiet=quiet)


def row(node: Node, me: str) -> dict[str, Any]:
    """One node's row; `me` is the id of the node that the command runs on."""
    return {
        "ID": node.id,
        "Self": node.id == me,
        "Hostname": node.description.hostname,
        "Status": _status(node),
        "Availability": NodeSpec.Availability.Name(node.spec.availability).capitalize(),
        "ManagerStatus": _manager(node),
        "EngineVersion": node.description.engine.engine_version,
        "TLSStatus": "Ready",
    }


def _status(node: Node) -> str:
    """Docker's word; what a node that goes on complains of stands behind it."""
    word = NodeStatus.State.Name(node.status.state).capitalize()
    warnings = "; ".join(node.description.warnings)
    return f"{word} ({warnings})" if warnings and word == "Ready" else word


def _manager(node: Node) -> str:
    if not node.HasField("manager_status"):
        return ""
    if node.manager_status.leader:
        return "Leader"
    return ManagerStatus.Reachability.Name(node.manager_status.reachability).capitalize()
