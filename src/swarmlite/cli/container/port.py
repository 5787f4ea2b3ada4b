"""`swarmlite container port` and `swarmlite port`."""

from __future__ import annotations

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.proto.containers_pb2 import Container, InspectContainerRequest
from swarmlite.proto.types_pb2 import PortConfig
from swarmlite.stack.syntax import ports

ANY = ("0.0.0.0", "::")
"""The addresses of a port that is published on none of its own."""


@click.command("port", cls=Command)
@click.argument("container")
@click.argument("private", required=False, metavar="[PRIVATE_PORT[/PROTO]]")
@pass_session
def command(session: Session, container: str, private: str | None) -> None:
    """List port mappings or a specific mapping for the container."""
    request = InspectContainerRequest(ref=container)
    found: Container = client.call(session.containers.Inspect, request)
    if private is None:
        for port in found.ports:
            for address in addresses(port):
                click.echo(f"{_target(port)} -> {address}")
        return
    wanted = ports.parse_exposed(private)
    if "-" in wanted:
        raise InvalidSpec(f"invalid port {private!r}: expected one port, as 80 or 80/udp")
    mapped = [a for port in found.ports if _target(port) == wanted for a in addresses(port)]
    if not mapped:
        raise NotFound(f"no public port '{wanted}' published for {container}")
    for address in mapped:
        click.echo(address)


def addresses(port: PortConfig) -> list[str]:
    """ADDRESS:PORT of the host, an IPv6 one in brackets."""
    hosts = [port.host_ip] if port.host_ip else list(ANY)
    return [f"{f'[{h}]' if ':' in h else h}:{port.published_port}" for h in hosts]


def _target(port: PortConfig) -> str:
    return f"{port.target_port}/{PortConfig.Protocol.Name(port.protocol).lower()}"
