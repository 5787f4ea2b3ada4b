"""`swarmlite network trace`: where a name or an address leads, as a task sees it."""

from __future__ import annotations

import ipaddress
import socket

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.network.seen import Seen, see
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.model.names import short_task_name
from swarmlite.network.dns import packet, records
from swarmlite.network.view import View, host_of
from swarmlite.proto.dispatcher_pb2 import Endpoint
from swarmlite.proto.objects_pb2 import Network, Task


@click.command("trace", cls=Command)
@click.argument("task")
@click.argument("name")
@pass_session
def command(session: Session, task: str, name: str) -> None:
    """Show how a name or an address is resolved and routed for a task.

    \b
    Example:
      swarmlite network trace web.1 db
    """
    seen = see(session)
    for line in trace(seen, seen.task(task), name):
        click.echo(line)


def trace(seen: Seen, task: Task, name: str) -> list[str]:
    """The lines. Raises InvalidSpec for what is neither a name nor an address."""
    view = seen.view()
    networks = [n for n in (view.networks.get(p.network_id) for p in task.networks) if n]
    reached = [network for network in networks if not network.spec.ingress]
    shown = ", ".join(n.spec.annotations.name for n in reached) or "no network of the swarm"
    lines = [f"{short_task_name(task)} on {seen.host(task.node_id)}, on {shown}"]
    if _is_address(name):
        return [*lines, *_address(seen, view, task, reached, name)]
    try:
        wire = packet.wire_name(name)
    except packet.Malformed as error:
        raise InvalidSpec(str(error)) from error
    for network in reached:
        zone = records.build(view, network.id)
        found = [zone.find(wire, kind) for kind in (packet.A, packet.AAAA)]
        if all(answer is None for answer in found):
            continue
        answers = [_text(record) for answer in found for record in answer or ()]
        lines.append(f"{name} is a name of network {network.spec.annotations.name}")
        if not answers:
            lines.append("no task answers to it now")
        for address in answers:
            lines += _address(seen, view, task, [network], address)
        return lines
    outside = any(not network.spec.internal for network in reached) or not reached
    said = "asked of the host's resolvers" if outside else "not asked elsewhere: no way out"
    return [*lines, f"{name} is a name of none of them: {said}"]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _text(record: bytes) -> str:
    packed = record[-4:] if record[2:4] == packet.A.to_bytes(2, "big") else record[-16:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _address(
    seen: Seen, view: View, task: Task, networks: list[Network], address: str
) -> list[str]:
    asked = ipaddress.ip_address(address)
    for network in networks:
        for service in view.services_on(network.id):
            for vip in service.vips:
                if vip.network_id == network.id and host_of(vip.addr) == str(asked):
                    six = asked.version == 6
                    behind = view.backends(network.id, service.id, six=six)
                    lines = [f"{address} is the VIP of service {service.name}, balanced inside"]
                    lines += [_hop(seen, view, task, network, each) for each in behind]
                    return lines if behind else [*lines, "  no task is in rotation: refused"]
        if any(asked in ipaddress.ip_network(c.subnet) for c in network.ipam.configs):
            return [_hop(seen, view, task, network, str(asked))]
    if not networks or any(not network.spec.internal for network in networks):
        return [f"{address} is on none of them: out through the host, from its address"]
    return [f"{address} is on none of them, and none has a way out"]


def _hop(seen: Seen, view: View, task: Task, network: Network, address: str) -> str:
    endpoint = _holder(view, network, address)
    if endpoint is None:
        return f"  {address} is nobody's on network {network.spec.annotations.name}"
    who = f"  {address} is {endpoint.name or 'a node'} on {seen.host(endpoint.node_id)}"
    if endpoint.node_id == task.node_id:
        return f"{who}, on the same host"
    vni = network.driver_state.options.get("vni", "?")
    return f"{who}, by VXLAN {vni} to {endpoint.node_addr}, at {endpoint.mac}"


def _holder(view: View, network: Network, address: str) -> Endpoint | None:
    for endpoint in view.endpoints(network.id):
        if address in (host_of(endpoint.addr), host_of(endpoint.addr6)):
            return endpoint
    return None
