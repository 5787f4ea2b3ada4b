"""`swarmlite restore`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.swarm.values import (
    etcd_options,
    etcd_values,
    passphrase_of,
    passphrase_option,
)
from swarmlite.errors import InvalidSpec
from swarmlite.proto.control_pb2 import GetRequest, UpdateClusterRequest
from swarmlite.proto.objects_pb2 import Cluster

_TEXT = """Restored cluster {cluster_id} as it was on {when}: this node is its manager {node_id}.

What nodes run and the backup does not know of stays as it is: `swarmlite node ls` names these
tasks once their nodes are back. To have them removed, and end this:

    swarmlite restore --settle
"""


@click.command("restore", cls=Command)
@passphrase_option("The passphrase is on this file's first line (- is stdin).")
@click.option("--advertise-addr", help="Advertised address (format: <ip|interface>[:port]).")
@click.option("--listen-addr", help="Listen address (0.0.0.0:2377).")
@click.option("--data-path-addr", help="Address or interface to use for data path traffic.")
@etcd_options
@flag("--settle", help="What nodes run and the restored store does not know is removed.")
@click.argument("path", metavar="FILE", required=False)
@pass_session
def command(session: Session, /, path: str | None, settle: bool, **values: Any) -> None:
    """Make this host the manager of a cluster that `backup` has saved.

    \b
    Example:
      swarmlite restore --passphrase-file /root/phrase /var/backups/swarm
    """
    if settle == bool(path):
        raise InvalidSpec("expected a FILE, or --settle on a manager that was restored")
    if settle:
        _settle(session)
        return
    values.update(etcd_values(values))
    message = {key: value for key, value in values.items() if value and key != "passphrase_file"}
    reply = session.request(
        {
            "op": "restore",
            "path": str(Path(path or "").absolute()),
            "passphrase": passphrase_of(values["passphrase_file"]),
            **message,
        },
        progress=lambda line: click.echo(line, file=sys.stderr),
    )
    when = datetime.fromtimestamp(reply["made"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    click.echo(_TEXT.format(when=when, **reply))


def _settle(session: Session) -> None:
    cluster: Cluster = client.call(session.control.GetCluster, GetRequest(ref="default"))
    request = UpdateClusterRequest(version=cluster.meta.version, settle_restore=True)
    client.call(session.control.UpdateCluster, request)
    click.echo("Settled: nodes run what the store says, and nothing else of the swarm.")
