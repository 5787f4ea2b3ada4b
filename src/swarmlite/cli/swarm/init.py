"""`swarmlite swarm init`."""

from __future__ import annotations

import base64
import sys
from typing import Any

import click

from swarmlite.cli.lazy import INTEGER, Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.swarm.values import (
    AVAILABILITY,
    etcd_options,
    etcd_values,
    external_ca,
    external_ca_option,
    file_of,
    how_to_unlock,
    seconds_option,
)

_TEXT = """Swarm initialized: current node ({node_id}) is now a manager.

To add a worker to this swarm, run the following command:

    swarmlite swarm join --token {worker_token} {manager_addr}

To add a manager to this swarm, run 'swarmlite swarm join-token manager' and follow \
the instructions.
"""


@click.command("init", cls=Command)
@click.option("--advertise-addr", help="Advertised address (format: <ip|interface>[:port]).")
@click.option("--listen-addr", help="Listen address (0.0.0.0:2377).")
@click.option("--data-path-addr", help="Address or interface to use for data path traffic.")
@click.option("--data-path-port", type=INTEGER, help="Port for data path traffic (4789).")
@click.option(
    "--default-addr-pool", multiple=True, help="Default address pool in CIDR format (10.0.0.0/8)."
)
@click.option(
    "--default-addr-pool-mask-length", type=INTEGER, help="Subnet mask length for the pool (24)."
)
@click.option("--availability", type=AVAILABILITY, help="Availability of the node.")
@flag("--autolock", default=False, help="Enable manager autolocking.")
@seconds_option("--cert-expiry", "Validity period for node certificates (2160h0m0s).")
@seconds_option("--dispatcher-heartbeat", "Dispatcher heartbeat period (5s).")
@click.option("--task-history-limit", type=INTEGER, help="Task history retention limit (5).")
@external_ca_option
@click.option("--ca-cert", metavar="FILE", help="The PEM-formatted root CA certificate to use.")
@click.option("--ca-key", metavar="FILE", help="The PEM-formatted root CA key to use.")
@flag("--force-new-cluster", help="Force create a new cluster from current state.")
@etcd_options
@pass_session
def command(session: Session, /, **values: Any) -> None:
    """Initialize a swarm.

    \b
    Examples:
      swarmlite swarm init --advertise-addr 192.0.2.10
      swarmlite swarm init --advertise-addr eth0 --autolock
      swarmlite swarm init --default-addr-pool 10.20.0.0/16 --default-addr-pool-mask-length 26
    """
    values.update(etcd_values(values))
    for name in ("ca_cert", "ca_key"):
        if values[name]:
            values[name] = file_of(f"--{name.replace('_', '-')}", values[name]).decode("latin-1")
    values["external_ca"] = [
        base64.b64encode(external_ca(text).SerializeToString()).decode()
        for text in values["external_ca"]
    ]
    names = {"cert_expiry": "cert_expiry_s", "dispatcher_heartbeat": "dispatcher_heartbeat_s"}
    message: dict[str, Any] = {"op": "init"}
    for key, value in values.items():
        if value not in (None, (), [], False):
            message[names.get(key, key)] = list(value) if isinstance(value, tuple) else value
    reply = session.request(message, progress=lambda line: click.echo(line, file=sys.stderr))
    click.echo(_TEXT.format(**reply))
    if reply.get("unlock_key"):
        click.echo(how_to_unlock(reply["unlock_key"]))
    if reply.get("moved"):
        click.echo("The nodes of before know another address: let them leave, and join again.")
