"""The filters of `GET /networks`, on networks in Docker's JSON, whoever has them; and of prune."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from swarmlite.docker.values import Json
from swarmlite.errors import InvalidSpec
from swarmlite.model.references import PREDEFINED_NETWORKS
from swarmlite.model.timestamps import until_ns
from swarmlite.proto.control_pb2 import Filter
from swarmlite.proto.objects_pb2 import Network

KEYS = ("dangling", "driver", "id", "label", "name", "scope", "type")
SCOPES = ("local", "swarm", "global")
Passes = Callable[[Json], bool]


def matcher(filters: Iterable[Filter], used: Callable[[Json], bool]) -> Passes:
    """Whether a network passes: any of a key's values, all of `label`'s. Raises InvalidSpec.

    `used` says whether anything is on a network.
    """
    tests: list[Passes] = []
    for entry in filters:
        group = [_test(entry.key, value, used) for value in entry.values]
        combine = all if entry.key == "label" else any
        if group:
            tests.append(_combined(group, combine))
    return lambda network: all(test(network) for test in tests)


def _combined(group: list[Passes], combine: Callable[[Iterable[bool]], bool]) -> Passes:
    return lambda network: combine(test(network) for test in group)


def _test(key: str, value: str, used: Callable[[Json], bool]) -> Passes:
    if key == "dangling":
        if value.lower() not in ("true", "1", "false", "0"):
            raise InvalidSpec(f"invalid filter 'dangling={value[:60]}': expected true or false")
        wanted = value.lower() in ("true", "1")
        return lambda n: (n["Name"] not in PREDEFINED_NETWORKS and not used(n)) == wanted
    if key == "type":
        if value not in ("custom", "builtin"):
            raise InvalidSpec(f"invalid filter: 'type'='{value[:60]}'")
        return lambda n: (n["Name"] in PREDEFINED_NETWORKS) == (value == "builtin")
    if key == "scope" and value not in SCOPES:
        raise InvalidSpec(f"invalid filter 'scope={value[:60]}': expected {', '.join(SCOPES)}")
    tests: dict[str, Passes] = {
        "driver": lambda n: bool(n["Driver"] == value),
        "id": lambda n: str(n["Id"]).startswith(value),
        "label": lambda n: labelled(n["Labels"] or {}, value),
        "name": lambda n: _named(n["Name"], value),
        "scope": lambda n: bool(n["Scope"] == value),
    }
    if key not in tests:
        raise InvalidSpec(f"invalid filter '{key[:60]}': expected one of {', '.join(KEYS)}")
    return tests[key]


def prune_matcher(filters: Iterable[Filter]) -> Callable[[Network], bool]:
    """Whether a network passes `until`, `label` and `label!`, all of them. Raises InvalidSpec."""
    tests = [_prune_test(entry.key, value) for entry in filters for value in entry.values]
    return lambda network: all(test(network) for test in tests)


def _prune_test(key: str, value: str) -> Callable[[Network], bool]:
    if key == "until":
        before = until_ns(value)
        return lambda n: n.meta.created_at.ToNanoseconds() < before
    if key == "label":
        return lambda n: labelled(n.spec.annotations.labels, value)
    if key == "label!":
        return lambda n: not labelled(n.spec.annotations.labels, value)
    raise InvalidSpec(f"invalid filter '{key[:60]}': expected one of label, label!, until")


def labelled(labels: Mapping[str, str], wanted: str) -> bool:
    """Whether the labels hold "key" or "key=value"."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _named(name: str, wanted: str) -> bool:
    """A part of the name, or a regular expression that finds one, as Docker has it."""
    if wanted in name:
        return True
    try:
        return re.search(wanted, name) is not None
    except re.error:
        return False
