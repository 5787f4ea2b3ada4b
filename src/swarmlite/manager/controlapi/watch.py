"""Watches: the store's events, without what may not be read, filtered for one client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.manager.store.api import Action, Event, Resync
from swarmlite.model.task_states import is_attachment
from swarmlite.proto import control_pb2
from swarmlite.proto.control_pb2 import WatchRequest, WatchResponse
from swarmlite.proto.objects_pb2 import Cluster, Secret, Service, Task

from .api import Api
from .changes import changes, is_minor
from .clusters import without_keys
from .payloads import without_data
from .tasks import task_filter

KINDS = ("node", "service", "task", "network", "secret", "config", "cluster")
MAX_EVENTS = 500
MAX_BEHIND = 10_000
"""Events that are kept for one client, which may have stopped reading for good."""

_ACTIONS = {
    Action.CREATE: control_pb2.CREATE,
    Action.UPDATE: control_pb2.UPDATE,
    Action.REMOVE: control_pb2.REMOVE,
}


async def watch(api: Api, request: WatchRequest) -> AsyncIterator[WatchResponse]:
    """What is remembered since `since`, an empty message once the watch is in place, then events
    in the order of their writes.

    Raises ResourceExhausted when the client fell behind: it lists and watches again.
    """
    for kind in request.kinds:
        if kind not in KINDS:
            raise InvalidSpec(
                f"watch: unknown kind {kind[:40]!r}, expected one of {', '.join(KINDS)}"
            )
    wanted = _wanted(api, request)
    kinds = request.kinds or KINDS
    async with api.store.subscribe(*kinds, backlog=MAX_BEHIND) as subscription:
        # No await since: what is remembered ends where the subscription begins.
        if request.HasField("since"):
            since_ns = request.since.ToNanoseconds()
            past = [event for event in api.store.past(*kinds) if event.time_ns >= since_ns]
            for response in _responses(past, wanted):
                yield response
        yield WatchResponse()
        try:
            async for events in subscription:
                for response in _responses(events, wanted):
                    yield response
        except Resync as error:
            raise ResourceExhausted("the watch fell behind: list and watch again") from error


def _wanted(api: Api, request: WatchRequest) -> Callable[[Event], bool]:
    """Filters are of tasks, and of services by their ids; other kinds pass. No attachments."""
    matches = task_filter(api.view, request.filters)
    services = [set(wanted.values) for wanted in request.filters if wanted.key == "service"]

    def wanted(event: Event) -> bool:
        obj = event.obj
        if isinstance(obj, Service):
            return all({obj.id, obj.spec.annotations.name} & ids for ids in services)
        return not isinstance(obj, Task) or (not is_attachment(obj) and matches(obj))

    return wanted


def _responses(events: Sequence[Event], wanted: Callable[[Event], bool]) -> Iterator[WatchResponse]:
    mine = [event for event in events if wanted(event)]
    for start in range(0, len(mine), MAX_EVENTS):
        yield _response(mine[start : start + MAX_EVENTS])


def _response(events: Sequence[Event]) -> WatchResponse:
    response = WatchResponse()
    for event in events:
        changed = changes(event)
        item = response.events.add(action=_ACTIONS[event.action], changes=changed)
        item.minor = is_minor(event, changed)
        item.time.FromNanoseconds(event.time_ns)
        obj = event.obj
        if isinstance(obj, Secret):
            obj = without_data(obj)
        elif isinstance(obj, Cluster):
            obj = without_keys(obj)
        getattr(item, event.kind).CopyFrom(obj)
    return response
