"""What a user who only looks is not shown of objects: credentials of registries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import Message

from swarmlite.manager import auth
from swarmlite.proto.control_pb2 import ListServicesResponse, ListTasksResponse, WatchResponse
from swarmlite.proto.objects_pb2 import Service, Task
from swarmlite.proto.specs_pb2 import TaskSpec

M = TypeVar("M", bound=Message)


def shown(answer: M) -> M:
    """The answer itself, or for a reader a copy without credentials."""
    if not auth.reads_only():
        return answer
    copy = type(answer)()
    copy.CopyFrom(answer)
    for spec in _specs(copy):
        if spec.container.pull_options.registry_auth:  # what is not there is not to appear
            spec.container.pull_options.ClearField("registry_auth")
    return copy


def _specs(answer: Message) -> Iterable[TaskSpec]:
    if isinstance(answer, Task):
        yield answer.spec
    elif isinstance(answer, Service):
        yield answer.spec.task
        yield answer.previous_spec.task
    elif isinstance(answer, ListTasksResponse):
        for task in answer.tasks:
            yield task.spec
    elif isinstance(answer, ListServicesResponse):
        for service in answer.services:
            yield from _specs(service)
    elif isinstance(answer, WatchResponse):
        for event in answer.events:
            which = event.WhichOneof("object")
            if which in ("task", "service"):
                yield from _specs(getattr(event, which))
