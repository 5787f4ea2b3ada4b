"""Generic resources: how a node declares them, which a task gets, and what it is told."""

from __future__ import annotations

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.model import generic_resources as resources
from swarmlite.proto.types_pb2 import GenericResource


def test_a_node_declares_counts_and_names() -> None:
    assert resources.parse(["gpu=a", "gpu=b", "ssd=3"]) == [
        GenericResource(kind="gpu", named="a"),
        GenericResource(kind="gpu", named="b"),
        GenericResource(kind="ssd", discrete=3),
    ]


@pytest.mark.parametrize(
    "texts", [["gpu"], ["=2"], ["gpu="], ["gpu=2", "gpu=3"], ["gpu=2", "gpu=a"], ["g=a", "g=a"]]
)
def test_what_contradicts_itself_is_refused(texts: list[str]) -> None:
    with pytest.raises(InvalidSpec):
        resources.parse(texts)


def test_a_task_gets_free_names_and_the_one_that_it_asks_for() -> None:
    node = resources.parse(["gpu=a", "gpu=b", "gpu=c", "ssd=3"])
    found = resources.choose(node, {("gpu", "a")}, {"gpu": 1, "ssd": 2}, ())
    assert resources.environment(found) == ["DOCKER_RESOURCE_GPU=b", "DOCKER_RESOURCE_SSD=2"]
    asked = resources.choose(node, (), {"gpu": 2}, [("gpu", "c")])
    assert resources.environment(asked) == ["DOCKER_RESOURCE_GPU=c,a"]
