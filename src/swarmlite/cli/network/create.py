"""`swarmlite network create`."""

from __future__ import annotations

import ipaddress
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag, parsed
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.control_pb2 import CreateNetworkRequest
from swarmlite.proto.hostnetworks_pb2 import CreateHostNetworkRequest, CreateHostNetworkResponse
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.stack.syntax import fields, small


def _cidr(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise InvalidSpec(f"expected a network in CIDR form: {error}") from error


def _reserved(text: str) -> tuple[str, str]:
    name, address = fields.pair(text)
    if not address:
        raise InvalidSpec("expected NAME=IP")
    return name, small.address(address)


@click.command("create", cls=Command)
@click.option("-d", "--driver", default="", help="Driver to manage the network (bridge).")
@click.option("--subnet", multiple=True, type=parsed(_cidr, "CIDR"), help="Subnet in CIDR format.")
@click.option(
    "--ip-range",
    multiple=True,
    type=parsed(_cidr, "CIDR"),
    help="Allocate container IPs from a sub-range.",
)
@click.option(
    "--gateway", multiple=True, type=parsed(small.address, "ip"), help="Gateway for the subnet."
)
@click.option(
    "--aux-address",
    multiple=True,
    type=parsed(_reserved, "map"),
    help="Reserved address, as NAME=IP.",
)
@click.option("--ipam-driver", default="", help="IP Address Management Driver.")
@click.option(
    "--ipam-opt", multiple=True, type=parsed(fields.pair, "map"), help="IPAM driver options."
)
@click.option("-o", "--opt", multiple=True, type=parsed(fields.pair, "map"), help="Driver options.")
@click.option(
    "--label", multiple=True, type=parsed(fields.pair, "list"), help="Set network metadata."
)
@flag("--attachable", help="Enable manual container attachment.")
@flag("--internal", help="Restrict external access to the network.")
@flag("--ingress", help="Create swarm routing-mesh network.")
@flag("--ipv6", help="Enable IPv6 networking.")
@flag("--ipv4", default=True, help="Enable IPv4 networking (true).")
@click.option("--scope", default="", help="Control the network's scope.")
@flag("--config-only", help="Create a configuration only network.")
@click.option("--config-from", default="", help="The network from which to copy configuration.")
@click.argument("name")
@pass_session
def command(session: Session, /, name: str, **values: Any) -> None:
    """Create a network: an overlay spans the swarm, a bridge is this host's own.

    \b
    Examples:
      swarmlite network create -d overlay back
      swarmlite network create -d overlay --attachable --subnet 10.9.0.0/24 -o encrypted inner
      swarmlite network create local
    """
    spec = network_spec(name, values)
    if is_swarm(spec):
        made: Network = client.call(session.control.CreateNetwork, CreateNetworkRequest(spec=spec))
        click.echo(made.id)
        return
    spec.scope = "local"
    request = CreateHostNetworkRequest(spec=spec)
    reply: CreateHostNetworkResponse = client.call(session.host_networks.Create, request)
    for warning in reply.warnings:
        click.echo(f"WARNING: {warning}", err=True)
    click.echo(reply.network.id)


def is_swarm(spec: NetworkSpec) -> bool:
    """Whether the managers make it: by its scope where it says one, else by its driver."""
    if spec.scope:
        return spec.scope == "swarm"
    return spec.driver.name == "overlay" or spec.ingress


def network_spec(name: str, values: dict[str, Any]) -> NetworkSpec:
    """The spec that the flags describe. Raises InvalidSpec."""
    if not values["ipv4"]:
        raise InvalidSpec("--ipv4=false: not supported")
    spec = NetworkSpec(
        ipv6_enabled=values["ipv6"],
        internal=values["internal"],
        attachable=values["attachable"],
        ingress=values["ingress"],
        config_from=values["config_from"],
        config_only=values["config_only"],
        scope=values["scope"],
    )
    spec.annotations.name = name
    spec.annotations.labels.update(dict(values["label"]))
    if values["scope"] not in ("", "local", "swarm"):
        raise InvalidSpec(f"--scope {values['scope']}: expected local or swarm")
    spreads = values["ingress"] or values["scope"] == "swarm"
    spec.driver.name = values["driver"] or ("overlay" if spreads else "bridge")
    if spec.driver.name == "overlay" and values["scope"] == "local":
        raise InvalidSpec("--scope local: an overlay is of the swarm; a bridge is of this host")
    spec.driver.options.update(dict(values["opt"]))
    if values["ipam_driver"] or values["ipam_opt"]:
        spec.ipam.driver.name = values["ipam_driver"]
        spec.ipam.driver.options.update(dict(values["ipam_opt"]))
    _pools(spec, values)
    return spec


def _pools(spec: NetworkSpec, values: dict[str, Any]) -> None:
    """Each range, gateway and auxiliary address goes to the subnet that holds it."""
    pools = {subnet: spec.ipam.configs.add(subnet=subnet) for subnet in values["subnet"]}
    for subnet, pool in pools.items():
        pool.ipv6 = ":" in subnet

    def pool_of(address: str, flag_name: str) -> Any:
        first = ipaddress.ip_network(address, strict=False)[0]
        for subnet, pool in pools.items():
            if first in ipaddress.ip_network(subnet):
                return pool
        raise InvalidSpec(f"{flag_name} {address}: is not in any --subnet")

    for text in values["ip_range"]:
        pool_of(text, "--ip-range").range = text
    for text in values["gateway"]:
        pool_of(text, "--gateway").gateway = text
    for name, text in values["aux_address"]:
        pool_of(text, "--aux-address").reserved[name] = text
