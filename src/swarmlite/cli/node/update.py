"""`swarmlite node update`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.flagtypes import DURATION
from swarmlite.cli.lazy import Command, one_of, parsed
from swarmlite.cli.node import changing
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.model import permission_words, units
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import MANAGER, WORKER
from swarmlite.stack.syntax import fields


@click.command("update", cls=Command)
@click.option(
    "--availability",
    type=one_of(active=NodeSpec.ACTIVE, pause=NodeSpec.PAUSE, drain=NodeSpec.DRAIN),
    help="Availability of the node (active, pause, drain).",
)
@click.option(
    "--drain-deadline",
    type=DURATION,
    help="With drain: how long tasks of start-first services wait for their successors (5m).",
)
@click.option("--role", type=one_of(worker=WORKER, manager=MANAGER), help="Role (worker, manager).")
@click.option(
    "--label-add", multiple=True, type=parsed(fields.pair, "list"), help="Add or update a label."
)
@click.option(
    "--allow",
    type=parsed(permission_words.parse, "list"),
    help="What services may have here: privileged, devices, host-namespaces, or '' for nothing.",
)
@click.option("--label-rm", multiple=True, help="Remove a node label if exists.")
@click.argument("node")
@pass_session
def command(session: Session, /, node: str, **values: Any) -> None:
    """Update a node.

    \b
    Examples:
      swarmlite node update --label-add zone=east node2
      swarmlite node update --availability drain --drain-deadline 10m node2
      swarmlite node update --allow privileged,devices node3
    """

    def edit(spec: NodeSpec) -> bool:
        if values["availability"] is not None:
            spec.availability = values["availability"]
            spec.ClearField("drain_deadline")
        if values["drain_deadline"] is not None:
            if spec.availability != NodeSpec.DRAIN:
                raise InvalidSpec("--drain-deadline is only valid with --availability drain")
            spec.drain_deadline.CopyFrom(units.duration(values["drain_deadline"]))
        if values["allow"] is not None:
            spec.allowed[:] = dict.fromkeys(values["allow"])
        if values["role"] is not None:
            spec.desired_role = values["role"]
        for name in values["label_rm"]:
            if name not in spec.annotations.labels:
                raise FailedPrecondition(f"key {name} doesn't exist in node's labels")
            del spec.annotations.labels[name]
        for name, value in values["label_add"]:
            spec.annotations.labels[name] = value
        return True

    changing.change(session, node, edit)
    click.echo(node)
    if values["role"] is not None:
        changing.warn_of_managers(session)
