"""Versions of secrets and configs: which names belong together, and what the next is called."""

from __future__ import annotations

from swarmlite.proto.objects_pb2 import Secret
from swarmlite.stack import versions


def secret(name: str, of: str = "") -> Secret:
    made = Secret()
    made.spec.annotations.name = name
    if of:
        made.spec.annotations.labels[versions.LABEL] = of
    return made


ALL = [
    secret("key.v10", "key"),
    secret("key"),
    secret("key.v2", "key"),
    secret("key.v3"),  # a name of its own, which only looks like a version
    secret("key.vx", "key"),
    secret("other"),
]


def names(found: list[Secret]) -> list[str]:
    return [item.spec.annotations.name for item in found]


def test_a_family_is_what_says_that_it_belongs_to_it_the_newest_last() -> None:
    assert names(versions.family("key", ALL)) == ["key", "key.v2", "key.v10"]
    assert names(versions.family("key.v2", ALL)) == ["key", "key.v2", "key.v10"]
    assert names(versions.family("key.v3", ALL)) == ["key.v3"]
    assert versions.family("none", ALL) == []


def test_the_next_version_counts_on_also_when_the_first_is_gone() -> None:
    assert versions.next_name("key", versions.family("key", ALL)) == "key.v11"
    assert versions.next_name("key", versions.family("key", ALL[2:3])) == "key.v3"
    assert versions.next_name("other", versions.family("other", ALL)) == "other.v2"


def test_a_name_stands_for_its_newest_version() -> None:
    assert versions.newest("key", ALL) == "key.v10"
    assert versions.newest("nobody", ALL) == "nobody"
