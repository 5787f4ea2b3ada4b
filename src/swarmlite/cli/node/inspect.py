"""`swarmlite node inspect`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.node import changing
from swarmlite.cli.output import human
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.showing import inspect_each, inspect_options, is_pretty, pretty_each
from swarmlite.docker import cluster as shapes
from swarmlite.model import units
from swarmlite.proto.objects_pb2 import Node


@click.command("inspect", cls=Command)
@inspect_options
@flag("--pretty", help="Print the information in a human friendly format.")
@click.argument("nodes", nargs=-1, required=True, metavar="self|NODE...")
@pass_session
def command(session: Session, nodes: tuple[str, ...], form: str, pretty: bool) -> int:
    """Display detailed information on one or more nodes."""
    if is_pretty(pretty, form):
        return pretty_each(nodes, lambda ref: "\n".join(_pretty(changing.get(session, ref))))
    return inspect_each(nodes, lambda ref: shapes.node(changing.get(session, ref)), form)


def _pretty(node: Node) -> Iterator[str]:
    shape = shapes.node(node)
    spec, described = shape["Spec"], shape["Description"]
    yield f"ID:\t\t\t{node.id}"
    if spec["Labels"]:
        yield "Labels:"
        for key, value in spec["Labels"].items():
            yield f" - {key}={value}" if value else f" - {key}"
    yield f"Hostname:              \t{described['Hostname']}"
    yield f"Joined at:             \t{human.go_time(node.meta.created_at)}"
    yield "Status:"
    yield f" State:\t\t\t{shape['Status']['State'].capitalize()}"
    if node.status.message:
        yield f" Message:\t\t{node.status.message}"
    for warning in node.description.warnings:
        yield f" Warning:\t\t{warning}"
    yield f" Availability:         \t{spec['Availability'].capitalize()}"
    yield f" Address:\t\t{node.status.addr}"
    if "ManagerStatus" in shape:
        manager = shape["ManagerStatus"]
        yield "Manager Status:"
        yield f" Address:\t\t{manager.get('Addr', '')}"
        yield f" Raft Status:\t\t{manager['Reachability'].capitalize()}"
        yield f" Leader:\t\t{'Yes' if node.manager_status.leader else 'No'}"
    yield "Platform:"
    yield f" Operating System:\t{described['Platform']['OS']}"
    yield f" Architecture:\t\t{described['Platform']['Architecture']}"
    yield "Resources:"
    yield f" CPUs:\t\t\t{units.format_cpus(node.description.resources.nano_cpus)}"
    yield f" Memory:\t\t{units.format_bytes(node.description.resources.memory_bytes)}"
    yield f"Engine Version:\t\t{node.description.engine.engine_version}"
