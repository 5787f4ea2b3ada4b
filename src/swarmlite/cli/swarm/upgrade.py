"""`swarmlite swarm upgrade`: whether, and in which order, nodes can go to this host's release."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from swarmlite import __version__
from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.model import upgrading
from swarmlite.proto.control_pb2 import GetRequest, ListRequest, StoreHealthRequest
from swarmlite.proto.types_pb2 import NodeRole


@click.command("upgrade", cls=Command)
@flag("--check", help="Only say what would hinder it, and the order in which nodes go.")
@click.option("--to", "target", default=__version__, help="The release to go to (this host's own).")
@pass_session
def command(session: Session, check: bool, target: str) -> int:
    """Check the way to another release."""
    if not check:
        raise InvalidSpec(
            "nodes are upgraded by their hosts' package manager, one after the other: --check says"
            " in which order"
        )
    control = session.control
    cluster = client.call(control.GetCluster, GetRequest(ref="default"))
    nodes = list(client.call(control.ListNodes, ListRequest()).nodes)
    services = client.call(control.ListServices, ListRequest()).services
    warnings = client.call(control.GetStoreHealth, StoreHealthRequest()).warnings
    found = upgrading.check(cluster, nodes, services, target, datetime.now(UTC), warnings)
    for line in _lines(found, target):
        click.echo(line)
    return 1 if found.hindrances else 0


def _lines(found: upgrading.Check, target: str) -> Iterator[str]:
    for line in found.hindrances:
        yield f"wrong    {line}"
    for line in found.remarks:
        yield f"remark   {line}"
    if not found.order:
        yield f"ok       every node runs {target}"
        return
    yield f"ok       to {target}, one after the other, each once the one before is Ready again:"
    for number, node in enumerate(found.order, 1):
        role = "worker"
        if node.role == NodeRole.MANAGER:
            role = "manager, leads now" if node.manager_status.leader else "manager"
        name = node.description.hostname or node.id
        yield f"{number:>7}. {name} ({role}), runs {upgrading.version_of(node) or 'unknown'}"
