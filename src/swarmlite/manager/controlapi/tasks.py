"""Tasks: they are only read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.manager.store.tables import Tables
from swarmlite.model import dirty, names, task_states
from swarmlite.proto.control_pb2 import Filter, GetRequest, ListTasksRequest, ListTasksResponse
from swarmlite.proto.objects_pb2 import Task

from .api import Api, resolve_task
from .filters import STACK_LABEL, Holds, Matcher, compile_filters, has_label, one_of
from .polled import Polled


def _desired_state(value: str) -> str:
    try:
        task_states.parse(value)
    except ValueError as error:
        raise InvalidSpec(
            f"--filter desired-state={value[:60]}: expected running, shutdown, accepted or"
            " another state of tasks"
        ) from error
    return value


READ = {
    "desired-state": _desired_state,
    "up-to-date": one_of("up-to-date", "true", "false", "1", "0"),
}


def _known(view: Tables) -> Mapping[str, Holds[Task]]:
    def of_service(task: Task, value: str) -> bool:
        return value in (task.service_id, task.service_annotations.name)

    def of_node(task: Task, value: str) -> bool:
        node = view.nodes.get(task.node_id)
        return value in (task.node_id, node.description.hostname if node else task.node_id)

    def up_to_date(task: Task, value: str) -> bool:
        service = view.services.get(task.service_id)
        current = service is not None and not dirty.is_task_dirty(service, task)
        return current == (value in ("true", "1"))

    return {
        "id": lambda task, value: task.id.startswith(value),
        "name": lambda task, value: names.full_task_name(task).startswith(value),
        "label": lambda task, value: has_label(task.spec.container.labels, value),
        "service": of_service,
        "node": of_node,
        "desired-state": lambda task, value: task.desired_state == task_states.parse(value),
        "up-to-date": up_to_date,
        "stack": lambda task, value: task.service_annotations.labels.get(STACK_LABEL) == value,
    }


def task_filter(view: Tables, filters: Iterable[Filter]) -> Matcher[Task]:
    """The test of tasks that `filters` make, for lists and for watches."""
    return compile_filters("tasks", filters, _known(view), READ)


class Tasks:
    """The calls on tasks."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._polled = Polled(ListTasksResponse)

    def get(self, request: GetRequest) -> Task:
        """One task."""
        task = resolve_task(self._api.view.tasks, request.ref)
        if task_states.is_attachment(task):
            raise NotFound(f"task {request.ref} not found")
        return task

    def list(self, request: ListTasksRequest) -> ListTasksResponse:
        """Tasks that pass the filters; none of them for who polls and has them all as they are."""
        matches = task_filter(self._api.view, request.filters)
        found = (t for t in self._candidates(request) if not task_states.is_attachment(t))
        tasks = [t for t in found if matches(t)]
        return self._polled.answer(
            request.seen, tasks, None, lambda: ListTasksResponse(tasks=tasks)
        )

    def _candidates(self, request: ListTasksRequest) -> Iterable[Task]:
        """All tasks, or by the indexes those of the services asked for, when these are ids."""
        view = self._api.view
        for wanted in request.filters:
            if wanted.key == "service" and all(v in view.services for v in wanted.values):
                ids = dict.fromkeys(wanted.values)
                return [t for i in ids for t in view.tasks.of_service(i).values()]
            if wanted.key == "node" and all(v in view.nodes for v in wanted.values):
                ids = dict.fromkeys(wanted.values)
                return [t for i in ids for t in view.tasks.of_node(i).values()]
        return view.tasks
