"""`swarmlite network diagram`: networks of the swarm with all that is on them, in text."""

from __future__ import annotations

from collections.abc import Sequence

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.network.seen import Seen, see
from swarmlite.cli.session import Session, pass_session
from swarmlite.model.names import short_task_name
from swarmlite.model.naturally import naturally
from swarmlite.network.view import View, host_of
from swarmlite.proto.dispatcher_pb2 import Endpoint
from swarmlite.proto.objects_pb2 import Network

Branch = tuple[str, "Sequence[Branch]"]
"""A line, and what hangs from it."""


@click.command("diagram", cls=Command)
@click.argument("networks", nargs=-1, metavar="[NETWORK...]")
@pass_session
def command(session: Session, networks: tuple[str, ...]) -> None:
    """Draw networks of the swarm: their services, tasks and nodes."""
    seen = see(session)
    chosen = [seen.network(ref) for ref in networks] or sorted(
        seen.networks, key=lambda n: naturally(n.spec.annotations.name)
    )
    for line in draw(seen, chosen):
        click.echo(line)


def draw(seen: Seen, networks: Sequence[Network]) -> list[str]:
    """The lines of some networks."""
    view = seen.view()
    lines: list[str] = []
    for network in networks:
        lines += [_title(network), *_lines(_branches(seen, view, network))]
    return lines


def _title(network: Network) -> str:
    spec = network.spec
    kinds = [spec.driver.name or "overlay"]
    kinds += [word for word in ("internal", "attachable", "ingress") if getattr(spec, word)]
    subnets = [config.subnet for config in network.ipam.configs]
    return f"{spec.annotations.name} ({', '.join([*kinds, *subnets])})"


def _branches(seen: Seen, view: View, network: Network) -> list[Branch]:
    names = {task.id: short_task_name(task) for task in seen.tasks}
    found: list[Branch] = []
    services = {e.service_id: e.service_name for e in view.endpoints(network.id) if e.service_id}
    services |= {service.id: service.name for service in view.services_on(network.id)}
    for service_id, name in sorted(services.items(), key=lambda item: naturally(item[1])):
        service = view.services.get(service_id)
        asked = service.vips if service is not None else ()
        vips = [host_of(vip.addr) for vip in asked if vip.network_id == network.id]
        tasks = view.service_endpoints(network.id, service_id)
        tasks = sorted(tasks, key=lambda e: naturally(names.get(e.task_id, e.task_id)))
        leaves = [(_place(seen, names.get(e.task_id, e.task_id), e), ()) for e in tasks]
        found.append((f"{name} {', '.join(vips) or 'without a VIP'}", leaves))
    for endpoint in sorted(view.endpoints(network.id), key=lambda e: e.name or e.node_id):
        if endpoint.service_id:
            continue
        what = endpoint.name if endpoint.task_id else "node"
        found.append((_place(seen, what, endpoint), ()))
    return found


def _place(seen: Seen, name: str, endpoint: Endpoint) -> str:
    addresses = [host_of(cidr) for cidr in (endpoint.addr, endpoint.addr6) if cidr]
    where = f"on {seen.host(endpoint.node_id)} ({endpoint.node_addr})"
    idle = endpoint.task_id and not endpoint.in_rotation
    return f"{name} {', '.join(addresses)} {where}{', not in rotation' if idle else ''}"


def _lines(branches: Sequence[Branch], before: str = "") -> list[str]:
    lines = []
    for number, (text, below) in enumerate(branches, 1):
        last = number == len(branches)
        lines.append(f"{before}{'└─' if last else '├─'} {text}")
        lines += _lines(below, before + ("   " if last else "│  "))
    return lines
