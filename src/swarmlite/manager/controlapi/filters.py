"""The filters of lists: each object names its keys, and what one of their values holds for.

A key holds when any of its values does, one of labels when all of them do; every key must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from swarmlite.errors import InvalidSpec
from swarmlite.proto.control_pb2 import Filter

Object = TypeVar("Object")
Holds = Callable[[Object, str], bool]
Matcher = Callable[[Object], bool]
Read = Callable[[str], str]
"""A value as `Holds` takes it. Raises InvalidSpec, also where there is nothing to filter."""

MAX_VALUES = 10_000
STACK_LABEL = "com.docker.stack.namespace"


def compile_filters(
    what: str,
    filters: Iterable[Filter],
    known: Mapping[str, Holds[Object]],
    read: Mapping[str, Read] = MappingProxyType({}),
) -> Matcher[Object]:
    """One test of all `filters`. Raises InvalidSpec for a key that `known` lacks, for a value that
    `read` refuses, and for more values than anybody types: each is compared with each object.
    """
    filters = list(filters)
    count = len(filters) + sum(len(wanted.values) for wanted in filters)
    if count > MAX_VALUES:
        raise InvalidSpec(f"--filter: {count} keys and values, {MAX_VALUES} at most")
    conditions: list[Matcher[Object]] = []
    for wanted in filters:
        if wanted.key not in known:
            raise InvalidSpec(
                f"--filter {wanted.key[:60]!r}: {what} have no such filter, expected one of"
                f" {', '.join(sorted(known))}"
            )
        combine = all if wanted.key.endswith("label") else any
        reads = read.get(wanted.key, str)
        values = [reads(value) for value in wanted.values]
        conditions.append(_condition(known[wanted.key], values, combine))
    return lambda obj: all(holds(obj) for holds in conditions)


def _condition(
    holds: Holds[Object], values: Sequence[str], combine: Callable[[Iterable[bool]], bool]
) -> Matcher[Object]:
    return lambda obj: combine(holds(obj, value) for value in values)


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """Whether the labels hold "key" or "key=value"."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def one_of(key: str, *allowed: str) -> Read:
    """Values of one filter: these words, in whatever case."""

    def read(value: str) -> str:
        if value.lower() not in allowed:
            raise InvalidSpec(f"--filter {key}={value[:60]}: expected one of {', '.join(allowed)}")
        return value.lower()

    return read
