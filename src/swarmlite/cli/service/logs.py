"""`swarmlite service logs`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.loglines import TAIL
from swarmlite.cli.moments import MOMENT
from swarmlite.cli.session import Session, pass_session
from swarmlite.docker import values
from swarmlite.docker.loglines import Joiner
from swarmlite.errors import NotFound
from swarmlite.proto.control_pb2 import (
    LOG_STDERR,
    Filter,
    GetRequest,
    ListNodesResponse,
    ListRequest,
    ListTasksRequest,
    ListTasksResponse,
    LogMessage,
    LogOptions,
    LogSelector,
    LogsRequest,
)
from swarmlite.proto.objects_pb2 import Task

MOST_HELD_BYTES = 64 << 20
OVERHEAD_BYTES = 300
"""Of a line, beside its text."""


@click.command("logs", cls=Command)
@flag("-f", "--follow", help="Follow log output.")
@click.option("-n", "--tail", type=TAIL, default="all", help="Lines to show (all).")
@click.option("--since", type=MOMENT, help="Show logs since a time, a UNIX time or a duration.")
@flag("-t", "--timestamps", help="Show timestamps.")
@flag("--details", help="Show extra details provided to logs.")
@flag("--raw", help="Do not neatly format logs.")
@flag("--no-resolve", help="Do not map IDs to Names in output.")
@flag("--no-task-ids", help="Do not include task IDs in output.")
@flag("--no-trunc", help="Do not truncate output.")
@click.argument("ref", metavar="SERVICE|TASK")
@pass_session
def command(session: Session, /, ref: str, **values: Any) -> None:
    """Fetch the logs of a service or task.

    \b
    Examples:
      swarmlite service logs -f --tail 100 web
      swarmlite service logs --since 10m --timestamps web
      swarmlite service logs --raw --no-task-ids web.1
    """
    selector, tasks = _select(session, ref)
    options = LogOptions(follow=values["follow"], tail=values["tail"], stdout=True, stderr=True)
    # Lines are merged by time, which text without times has not: here what is read to its end, by
    # the manager what is followed, with the tasks that are still to come.
    merged = len(tasks) > 1 and not values["follow"]
    several = bool(selector.service_ids) if values["follow"] else merged
    options.plain = not values["timestamps"] and not several
    if values["since"] is not None:
        options.since.CopyFrom(values["since"])
    labels = _Labels(session, tasks, values)
    request = LogsRequest(selector=selector, options=options)
    lines = _whole(session.control.ServiceLogs(request))
    for line in in_order(lines) if merged else lines:
        _write(line, labels)


def _whole(call: Any) -> Iterator[LogMessage]:
    """Lines as they come. Those of several tasks alternate: what comes in parts waits for its last
    one.
    """
    joiner = Joiner()
    for reply in client.stream(call):
        for message in reply.messages:
            line = joiner.add((message.context.task_id, message.stream), message)
            if line is not None:
                yield line
    yield from joiner.rest()


def in_order(lines: Iterable[LogMessage]) -> Iterator[LogMessage]:
    """The lines of all nodes by their times, those of one time as they came.

    So much is held at most: of what is larger, only lines that come near each other are in order.
    """
    held: list[LogMessage] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line.data) + OVERHEAD_BYTES
        if size > MOST_HELD_BYTES:
            held.sort(key=_time)
            half = len(held) // 2
            yield from held[:half]
            del held[:half]
            size = sum(len(each.data) + OVERHEAD_BYTES for each in held)
    yield from sorted(held, key=_time)


def _time(line: LogMessage) -> tuple[int, int]:
    return line.timestamp.seconds, line.timestamp.nanos


def _write(message: LogMessage, labels: _Labels) -> None:
    """One line, or many of one task without times."""
    out = sys.stderr if message.stream == LOG_STDERR else sys.stdout
    prefix = labels.prefix(message).encode()
    lines = message.data.removesuffix(b"\n").replace(b"\n", b"\n" + prefix)
    out.buffer.write(prefix + lines + b"\n")
    out.buffer.flush()


def _select(session: Session, ref: str) -> tuple[LogSelector, list[Task]]:
    try:
        service = client.call(session.control.GetService, GetRequest(ref=ref))
    except NotFound:
        try:
            task = client.call(session.control.GetTask, GetRequest(ref=ref))
        except NotFound as error:
            raise NotFound(f"no such task or service: {ref}") from error
        return LogSelector(task_ids=[task.id]), [task]
    filters = [Filter(key="service", values=[service.id])]
    found = client.call(session.control.ListTasks, ListTasksRequest(filters=filters))
    return LogSelector(service_ids=[service.id]), list(found.tasks)


class _Labels:
    """The beginning of each line: "web.1.<id>@node    | "."""

    def __init__(self, session: Session, tasks: list[Task], options: Mapping[str, Any]) -> None:
        self._session, self._options = session, options
        self._selected = tasks
        self._tasks = {task.id: task for task in tasks}
        self._nodes: dict[str, str] = {}
        self._width = 0

    def prefix(self, message: LogMessage) -> str:
        """All that stands before the line itself."""
        stamp = f"{values.log_time(message.timestamp)} " if self._options["timestamps"] else ""
        context = message.context
        details = ""
        if self._options["details"]:
            pairs = {
                "com.docker.swarm.node.id": context.node_id,
                "com.docker.swarm.service.id": context.service_id,
                "com.docker.swarm.task.id": context.task_id,
            }
            details = ",".join(f"{key}={value}" for key, value in pairs.items()) + " "
        if self._options["raw"]:
            return stamp + details
        name = self._name(context.task_id, context.node_id)
        self._width = max(self._width, len(name))
        return f"{stamp}{name:<{self._width}}    | {details}"

    def _name(self, task_id: str, node_id: str) -> str:
        if task_id not in self._tasks or node_id not in self._nodes:
            self._learn()
            # From the first line on as wide as any of them may need.
            placed = [task for task in self._selected if task.node_id]
            widths = [len(self._shown(task.id, task.node_id)) for task in placed]
            self._width = max([self._width, *widths])
        return self._shown(task_id, node_id)

    def _shown(self, task_id: str, node_id: str) -> str:
        task = self._tasks.get(task_id)
        shown = task_id if self._options["no_trunc"] else task_id[:12]
        if task is None or self._options["no_resolve"]:
            return f"{task_id}@{node_id}"
        name = f"{task.service_annotations.name}.{task.slot or task.node_id}"
        if not self._options["no_task_ids"]:
            name += f".{shown}"
        return f"{name}@{self._nodes.get(node_id, node_id)}"

    def _learn(self) -> None:
        control = self._session.control
        tasks: ListTasksResponse = client.call(control.ListTasks, ListTasksRequest())
        self._tasks.update({task.id: task for task in tasks.tasks})
        nodes: ListNodesResponse = client.call(control.ListNodes, ListRequest())
        self._nodes.update({n.id: n.description.hostname or n.id for n in nodes.nodes})
