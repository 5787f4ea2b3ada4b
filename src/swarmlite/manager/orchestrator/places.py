"""A place is what a task fills: one slot of a service, or one node of a global service."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from swarmlite.model.dirty import has_image, is_task_dirty
from swarmlite.model.task_states import REMOVE, RUNNING, SHUTDOWN
from swarmlite.proto.objects_pb2 import Service, Task

from ..restart import ENDED_BY_ITSELF, must_leave, should_restart
from ..store.tables import Tables
from ..times import order

Key = int | str


class Dirtiness:
    """Whether tasks are outdated, asked once for each version of the spec (and node, if need be).

    Tasks of one version were made from one spec; only a change of placement depends on the node.
    """

    def __init__(self, service: Service, view: Tables) -> None:
        self._service = service
        self._view = view
        self._version = service.spec_version.index
        self._known: dict[tuple[int, str, bool], bool] = {}

    def __call__(self, task: Task) -> bool:
        """Whether `task` has to be replaced."""
        version = task.spec_version.index
        if version == self._version and version:
            return False
        if not task.HasField("endpoint"):
            return is_task_dirty(self._service, task, self._view.nodes.get(task.node_id))
        key = (version, task.node_id, has_image(task))
        known = self._known.get(key)
        if known is None:
            node = self._view.nodes.get(task.node_id)
            known = self._known[key] = is_task_dirty(self._service, task, node)
        return known


@dataclass(slots=True)
class Place:
    """One place, its tasks sorted by what they mean to it."""

    key: Key
    tasks: list[Task]
    live: list[Task] = field(default_factory=list)
    """Desired to run, not ended, on a node that may run them."""
    lost: list[Task] = field(default_factory=list)
    """Desired to run, but ended or on a node that they have to leave."""
    held: Task | None = None
    """The newest task, when nothing is desired to run: it ended and its policy says to leave it."""

    @property
    def desired(self) -> bool:
        """Whether anything in it is desired to run."""
        return bool(self.live or self.lost)

    @property
    def filled(self) -> bool:
        """Whether it counts as one of the service's replicas."""
        return bool(self.live or self.lost or self.held)

    @property
    def node_id(self) -> str:
        """The node of its one live task; empty when there is none or more."""
        return self.live[0].node_id if len(self.live) == 1 else ""

    @property
    def running(self) -> bool:
        """Whether a live task of it is RUNNING."""
        return any(t.status.state == RUNNING for t in self.live)


def newest(tasks: Iterable[Task]) -> Task:
    """The task that was created last."""
    return max(tasks, key=order)


Stays = Callable[[Task], bool]
"""Whether a task on a node that is drained runs on until its successor does."""


def _none_stays(task: Task) -> bool:
    return False


def sort_place(key: Key, tasks: Iterable[Task], view: Tables, stays: Stays = _none_stays) -> Place:
    """What the tasks of one place mean to it; one that `stays` is still live."""
    place = Place(key, list(tasks))
    for task in place.tasks:
        if task.desired_state > RUNNING:
            continue
        if task.status.state > RUNNING or (
            task.node_id and must_leave(view.nodes.get(task.node_id)) and not stays(task)
        ):
            place.lost.append(task)
        else:
            place.live.append(task)
    if not place.desired:
        kept = [t for t in place.tasks if t.desired_state == SHUTDOWN]
        last = newest(kept) if kept else None
        if last and last.status.state in ENDED_BY_ITSELF and not should_restart(last, kept):
            place.held = last
    return place


def sort_places(
    tasks: Mapping[str, Task], view: Tables, stays: Stays = _none_stays
) -> dict[Key, Place]:
    """The places of one service, whatever their tasks' states."""
    by_key: defaultdict[Key, list[Task]] = defaultdict(list)
    for task in tasks.values():
        by_key[task.slot or task.node_id].append(task)
    places = {}
    kept = {"": True}
    for key, of_key in by_key.items():
        task = of_key[0]
        # Most places of a large service hold one task that is as desired.
        if len(of_key) == 1 and task.desired_state <= RUNNING and task.status.state <= RUNNING:
            node_id = task.node_id
            if node_id not in kept:
                kept[node_id] = not must_leave(view.nodes.get(node_id))
            if kept[node_id]:
                places[key] = Place(key, of_key, of_key)
                continue
        places[key] = sort_place(key, of_key, view, stays)
    return places


def removable(task: Task) -> bool:
    """Whether the task still has to hear that it is removed."""
    return task.desired_state < REMOVE
