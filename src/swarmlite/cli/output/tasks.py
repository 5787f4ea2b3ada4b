"""The table of tasks: `service ps`, `node ps` and `stack ps`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from swarmlite.cli import client
from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Listing
from swarmlite.cli.session import Session
from swarmlite.model import task_states
from swarmlite.model.naturally import naturally
from swarmlite.model.service_rows import host_of
from swarmlite.proto.control_pb2 import (
    ListNodesResponse,
    ListRequest,
    ListServicesResponse,
)
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.types_pb2 import PortConfig

LISTING = Listing(
    "{{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}"
    "\t{{.Ports}}",
    {
        "ID": "ID",
        "Name": "NAME",
        "Image": "IMAGE",
        "Node": "NODE",
        "DesiredState": "DESIRED STATE",
        "CurrentState": "CURRENT STATE",
        "Error": "ERROR",
        "Ports": "PORTS",
    },
)
ERROR_WIDTH = 30
HISTORY = r" \_ "


def print_tasks(
    session: Session,
    tasks: Iterable[Task],
    form: str = "",
    *,
    quiet: bool = False,
    no_trunc: bool = False,
    no_resolve: bool = False,
) -> None:
    """Print the tasks; `no_resolve` shows ids in place of names."""
    services: Mapping[str, str] = {}
    nodes: Mapping[str, str] = {}
    if not no_resolve and not quiet:
        found: ListServicesResponse = client.call(session.control.ListServices, ListRequest())
        services = {s.id: s.spec.annotations.name for s in found.services}
        known: ListNodesResponse = client.call(session.control.ListNodes, ListRequest())
        nodes = {n.id: n.description.hostname or n.id for n in known.nodes}
    table = not form or form.startswith("table")
    LISTING.print(
        rows(tasks, services, nodes, no_trunc=no_trunc or quiet, tree=table),
        form,
        quiet=quiet,
    )


def rows(
    tasks: Iterable[Task],
    services: Mapping[str, str],
    nodes: Mapping[str, str],
    *,
    no_trunc: bool = False,
    tree: bool = True,
    now: float | None = None,
) -> list[dict[str, Any]]:
    """Rows by name, the newest first; a slot's history below it, marked with a branch."""

    def name(task: Task) -> str:
        service = services.get(task.service_id) or task.service_annotations.name
        return f"{service or task.service_id}.{task.slot or task.node_id}"

    ordered = sorted(tasks, key=_order, reverse=True)
    ordered.sort(key=lambda t: naturally(name(t)))
    result, previous = [], ""
    for task in ordered:
        shown = name(task)
        branch = HISTORY if tree and shown == previous else ""
        result.append(_row(task, branch + shown, nodes, no_trunc, now))
        previous = shown
    return result


def _order(task: Task) -> tuple[int, int, int]:
    """By the store's revision: the managers' clocks may have stepped meanwhile."""
    meta = task.meta
    return meta.created_version.index, meta.created_at.seconds, meta.created_at.nanos


def _row(
    task: Task, name: str, nodes: Mapping[str, str], no_trunc: bool, now: float | None
) -> dict[str, Any]:
    error = " ".join(task.status.err.split())
    since = human.ago(task.status.timestamp, time.time() if now is None else now).lower()
    image = task.spec.container.image
    return {
        "ID": task.id if no_trunc else human.short_id(task.id),
        "Name": name,
        "Image": image if no_trunc else human.familiar_image(image),
        "Node": nodes.get(task.node_id, task.node_id),
        "DesiredState": task_states.title(task.desired_state),
        "CurrentState": f"{task_states.title(task.status.state)} {since}",
        "Error": f'"{error if no_trunc else human.ellipsis(error, ERROR_WIDTH)}"' if error else "",
        "Ports": ",".join(_host_port(port) for port in task.status.host_ports),
    }


def _host_port(port: PortConfig) -> str:
    protocol = PortConfig.Protocol.Name(port.protocol).lower()
    return f"{host_of(port)}:{port.published_port}->{port.target_port}/{protocol}"
