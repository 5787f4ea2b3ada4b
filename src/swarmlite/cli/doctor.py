"""`swarmlite doctor`."""

from __future__ import annotations

import json

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import SwarmliteError
from swarmlite.identity import node as identity
from swarmlite.node import doctor
from swarmlite.node.doctor import Grade, Peer
from swarmlite.proto.control_pb2 import ListNodesResponse, ListRequest


@click.command("doctor", cls=Command)
@pass_session
def command(session: Session) -> int:
    """Check this host, and its way to the other nodes."""
    node = identity.read(session.paths.node_file)
    wrong = False
    for finding in doctor.host(session.paths, node):
        wrong |= _show(finding)
    if node is not None:
        for finding in doctor.pairs(_peers(session, node), node, session.paths.netns_dir):
            wrong |= _show(finding)
    return int(wrong)


def _show(finding: doctor.Finding) -> bool:
    click.echo(f"{finding.grade.value:<8} {finding.what:<17} {finding.line}")
    return finding.grade is Grade.WRONG


def _peers(session: Session, node: identity.NodeIdentity) -> list[Peer]:
    """The others: all of them as a manager knows them, the managers as a worker does."""
    if node.manager:
        try:
            reply: ListNodesResponse = client.call(session.control.ListNodes, ListRequest())
        except SwarmliteError as error:
            click.echo(f"{'wrong':<8} {'manager':<17} {error}")
        else:
            return [
                Peer(
                    other.description.hostname,
                    other.description.data_path_addr or other.status.addr,
                    other.manager_status.addr,
                    other.description.image_port,
                )
                for other in reply.nodes
                if other.id != node.node_id
            ]
    try:
        known = json.loads((session.paths.agent_dir / "managers.json").read_text())
    except (OSError, ValueError):
        known = node.managers
    return [
        Peer(addr, addr.rpartition(":")[0].strip("[]"), addr)
        for addr in known
        if addr != node.advertise_addr
    ]
