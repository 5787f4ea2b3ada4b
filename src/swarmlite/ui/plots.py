"""What tasks used in the last hour as small pictures: a line a task, drawn here as SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from swarmlite.proto.control_pb2 import Figure, TaskFigures

WIDTH, HEIGHT, MINUTES = 300, 60, 60
MAX_LINES = 20
"""Those of the tasks that used most."""
UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Line:
    """Of a task; `points` as SVG has them."""

    name: str
    points: str


@dataclass(frozen=True)
class Plot:
    """One measure; `now` and `most` are of all tasks together."""

    title: str
    now: str
    most: str
    lines: list[Line]


def plots(tasks: Sequence[TaskFigures], names: Mapping[str, str]) -> list[Plot]:
    """Processors, memory and networks; nothing where nothing is known."""
    if not tasks:
        return []
    measures: list[tuple[str, Callable[[Figure], float], Callable[[float], str]]] = [
        ("Processors", lambda one: one.cpus, lambda value: f"{value:.2f}"),
        ("Memory", lambda one: one.memory_bytes, size),
        ("Received a second", lambda one: one.received_bytes, size),
        ("Sent a second", lambda one: one.sent_bytes, size),
    ]
    return [_plot(title, tasks, names, value, said) for title, value, said in measures]


def _plot(
    title: str, tasks: Sequence[TaskFigures], names: Mapping[str, str],
    value: Callable[[Figure], float], said: Callable[[float], str],
) -> Plot:  # fmt: skip
    together: dict[int, float] = {}
    for task in tasks:
        for one in task.figures:
            together[one.minutes_ago] = together.get(one.minutes_ago, 0.0) + value(one)
    highest = {task.task_id: max(map(value, task.figures)) for task in tasks}
    shown = sorted(tasks, key=lambda task: -highest[task.task_id])[:MAX_LINES]
    top = max(highest.values()) or 1.0
    lines = [
        Line(names.get(task.task_id, task.task_id[:12]), _points(task, value, top))
        for task in shown
    ]
    # The minute that goes on may lack the figures of some nodes.
    latest = sorted(together)[:2]
    now = max(together[minute] for minute in latest)
    return Plot(title, said(now), said(max(together.values())), lines)


def _points(task: TaskFigures, value: Callable[[Figure], float], top: float) -> str:
    points = [
        f"{WIDTH - one.minutes_ago * WIDTH / MINUTES:.0f},{HEIGHT - value(one) * HEIGHT / top:.1f}"
        for one in task.figures
    ]
    return " ".join([*points, points[-1]])  # a line of one point is a dot


def size(value: float) -> str:
    """Of bytes, as Docker writes it."""
    for unit in UNITS[:-1]:
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} {UNITS[-1]}"
