"""`swarmlite network connect`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, parsed, refused
from swarmlite.cli.session import Session, pass_session
from swarmlite.proto.containers_pb2 import EndpointConfig
from swarmlite.proto.hostnetworks_pb2 import ConnectRequest
from swarmlite.stack.syntax import endpoints, fields


@click.command("connect", cls=Command)
@click.option("--alias", multiple=True, help="Add network-scoped alias for the container.")
@click.option(
    "--driver-opt", multiple=True, type=parsed(fields.pair), help="Driver options for the network."
)
@click.option("--ip", type=parsed(endpoints.ipv4), help="IPv4 address of the container.")
@click.option("--ip6", type=parsed(endpoints.ipv6), help="IPv6 address of the container.")
@click.option("--link", multiple=True, help="Add link to another container (NAME[:ALIAS]).")
@refused("--link-local-ip", "--gw-priority")
@click.argument("network")
@click.argument("container")
@pass_session
def command(
    session: Session,
    network: str,
    container: str,
    alias: tuple[str, ...],
    driver_opt: tuple[tuple[str, str], ...],
    ip: str | None,
    ip6: str | None,
    link: tuple[str, ...],
) -> None:
    """Connect a container to a network."""
    endpoint = EndpointConfig(
        network=network,
        aliases=alias,
        ipv4_address=ip or "",
        ipv6_address=ip6 or "",
        links=link,
        driver_options=dict(driver_opt),
    )
    request = ConnectRequest(container=container, endpoint=endpoint)
    client.call(session.host_networks.Connect, request)
