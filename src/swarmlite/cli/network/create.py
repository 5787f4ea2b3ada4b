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
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.specs_pb2 import NetworkSpec
from swarmlite.stack.syntax import fields, small


def _cidr(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise InvalidSpec(f"expected a network in CIDR form: {error}") from error


@click.command("create", cls=Command)
@click.option("-d", "--driver", default="overlay", help="Driver to manage the Network (overlay).")
@click.option("--subnet", multiple=True, type=parsed(_cidr, "CIDR"), help="Subnet in CIDR format.")
@click.option("--ip-range", multiple=True, type=parsed(_cidr, "CIDR"), help="Allocate from here.")
@click.option("--gateway", multiple=True, type=parsed(small.address, "ip"), help="Gateway.")
@click.option("--aux-address", multiple=True, type=parsed(fields.pair, "map"), help="NAME=IP.")
@click.option("--ipam-driver", default="", help="IP Address Management Driver.")
@click.option("--ipam-opt", multiple=True, type=parsed(fields.pair, "map"), help="Its options.")
@click.option("-o", "--opt", multiple=True, type=parsed(fields.pair, "map"), help="Driver options.")
@click.option("--label", multiple=True, type=parsed(fields.pair, "list"), help="Set metadata.")
@flag("--attachable", help="Enable manual container attachment.")
@flag("--internal", help="Restrict external access to the network.")
@flag("--ingress", help="Create swarm routing-mesh network.")
@flag("--ipv6", help="Enable IPv6 networking.")
@click.option("--scope", default="", help="Control the network's scope.")
@flag("--config-only", help="Create a configuration only network.")
@click.option("--config-from", default="", help="The network from which to copy configuration.")
@click.argument("name")
@pass_session
def command(session: Session, /, name: str, **values: Any) -> None:
    """Create a network."""
    spec = network_spec(name, values)
    network: Network = client.call(session.control.CreateNetwork, CreateNetworkRequest(spec=spec))
    click.echo(network.id)


def network_spec(name: str, values: dict[str, Any]) -> NetworkSpec:
    """The spec that the flags describe. Raises InvalidSpec."""
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
    spec.driver.name = values["driver"]
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
        raise InvalidSpec(f"{flag_name} {address}: no --subnet holds it")

    for text in values["ip_range"]:
        pool_of(text, "--ip-range").range = text
    for text in values["gateway"]:
        pool_of(text, "--gateway").gateway = text
    for name, text in values["aux_address"]:
        pool_of(small.address(text), "--aux-address").reserved[name] = text
