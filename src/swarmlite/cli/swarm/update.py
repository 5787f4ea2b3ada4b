"""`swarmlite swarm update`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import INTEGER, Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.swarm.values import (
    external_ca,
    external_ca_option,
    how_to_unlock,
    seconds_option,
)
from swarmlite.model import units
from swarmlite.proto.control_pb2 import GetRequest, GetUnlockKeyRequest, UpdateClusterRequest
from swarmlite.proto.objects_pb2 import Cluster


@click.command("update", cls=Command)
@flag("--autolock", default=None, help="Change manager autolocking setting.")  # type: ignore[arg-type]
@seconds_option("--cert-expiry", "Validity period for node certificates.")
@seconds_option("--dispatcher-heartbeat", "Dispatcher heartbeat period.")
@click.option("--task-history-limit", type=INTEGER, help="Task history retention limit.")
@flag("--rotate-store-key", help="Seal secrets and keys in the store with a new key.")
@external_ca_option
@pass_session
def command(session: Session, /, **values: Any) -> None:
    """Update the swarm."""
    cluster: Cluster = client.call(session.control.GetCluster, GetRequest(ref="default"))
    spec = cluster.spec
    if values["autolock"] is not None:
        spec.encryption.auto_lock_managers = values["autolock"]
    if values["cert_expiry"] is not None:
        expiry = units.duration(int(values["cert_expiry"] * units.SECOND))
        spec.ca.node_cert_expiry.CopyFrom(expiry)
    if values["dispatcher_heartbeat"] is not None:
        period = units.duration(int(values["dispatcher_heartbeat"] * units.SECOND))
        spec.dispatcher.heartbeat_period.CopyFrom(period)
    if values["task_history_limit"] is not None:
        spec.orchestration.task_history_retention_limit = values["task_history_limit"]
    if values["external_ca"]:
        del spec.ca.external_cas[:]
        spec.ca.external_cas.extend(map(external_ca, values["external_ca"]))
    request = UpdateClusterRequest(
        version=cluster.meta.version,
        spec=spec,
        rotate_store_key=bool(values["rotate_store_key"]),
    )
    client.call(session.control.UpdateCluster, request)
    click.echo("Swarm updated.")
    if values["autolock"]:
        key = client.call(session.control.GetUnlockKey, GetUnlockKeyRequest()).unlock_key
        click.echo(how_to_unlock(key))
