"""Removing what has ended: `container prune`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from swarmlite.engine.engine import Engine
from swarmlite.engine.events import nanoseconds
from swarmlite.engine.records import Record
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.model.timestamps import until_ns as until_ns
from swarmlite.proto.containers_pb2 import ContainerState, PruneResponse
from swarmlite.proto.control_pb2 import Filter

KEYS = ("label", "label!", "until")
ENDED = frozenset({ContainerState.CREATED, ContainerState.EXITED, ContainerState.DEAD})


async def prune(engine: Engine, filters: Iterable[Filter]) -> PruneResponse:
    """Remove every container that does not run and passes. Raises InvalidSpec."""
    passes = matcher(filters)
    response = PruneResponse()
    for record in engine.records.newest_first():
        if record.state.status not in ENDED or record.of_task or not passes(record):
            continue
        try:
            size = await asyncio.to_thread(engine.storage.snapshots.usage, record.id)
        except SwarmliteError:
            size = 0
        try:
            await engine.lifecycle.remove(record)
        except SwarmliteError:
            continue  # it was started meanwhile
        response.deleted.append(record.id)
        response.reclaimed_bytes += size
    reclaimed = {"reclaimed": str(response.reclaimed_bytes)}
    engine.events.tell("container", "prune", "", reclaimed)
    return response


def matcher(filters: Iterable[Filter]) -> Callable[[Record], bool]:
    """Whether a container passes `until`, `label` and `label!`. Raises InvalidSpec."""
    tests: list[Callable[[Record], bool]] = []
    for entry in filters:
        if entry.key not in KEYS:
            raise InvalidSpec(f"invalid filter {entry.key!r}: expected one of {', '.join(KEYS)}")
        for value in entry.values:
            tests.append(_test(entry.key, value))
    return lambda record: all(test(record) for test in tests)


def _test(key: str, value: str) -> Callable[[Record], bool]:
    if key == "until":
        before = until_ns(value)
        return lambda record: nanoseconds(record.message.created) < before
    name, separator, wanted = value.partition("=")

    def held(record: Record) -> bool:
        labels = record.message.labels
        return name in labels and (not separator or labels[name] == wanted)

    return held if key == "label" else lambda record: not held(record)


def truth(key: str, value: str) -> bool:
    """A filter's true or false. Raises InvalidSpec."""
    if value.lower() not in ("true", "1", "false", "0"):
        raise InvalidSpec(f"invalid filter '{key}={value}': expected true or false")
    return value.lower() in ("true", "1")
