"""Placement constraints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlite.errors import InvalidSpec
from swarmlite.model import constraints
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import MANAGER


def node() -> Node:
    made = Node(id="n1", role=MANAGER)
    made.description.hostname = "Alpha"
    made.description.platform.os = "linux"
    made.description.platform.architecture = "amd64"
    made.description.engine.labels["storage"] = "SSD"
    made.spec.annotations.labels["zone"] = "East"
    made.status.addr = "10.1.2.3"
    return made


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("node.id==n1", True),
        ("node.id != n1", False),
        ("node.hostname == alpha", True),
        ("node.role==manager", True),
        ("NODE.ROLE==Worker", False),
        ("node.platform.os==linux", True),
        ("node.platform.arch==x86_64", True),
        ("node.platform.arch!=aarch64", True),
        ("node.labels.zone == east", True),
        ("node.labels.Zone == east", False),
        ("node.labels.none != x", True),
        ("node.labels.none == x", False),
        ("engine.labels.storage==ssd", True),
        ("node.ip==10.1.0.0/16", True),
        ("node.ip==10.1.2.3", True),
        ("node.ip!=10.2.0.0/16", True),
    ],
)
def test_a_constraint_holds_or_not(text: str, holds: bool) -> None:
    assert constraints.parse_one(text).matches(node()) == holds


def test_all_must_hold() -> None:
    both = constraints.parse(["node.id==n1", "node.labels.zone==west"])
    assert not constraints.matches(both, node())
    assert constraints.matches(both[:1], node())


def test_a_node_without_an_address_satisfies_no_constraint_of_it() -> None:
    assert not constraints.parse_one("node.ip==10.0.0.0/8").matches(Node(id="x"))
    assert not constraints.parse_one("node.ip!=10.0.0.0/8").matches(Node(id="x"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "node.id",
        "node.id=n1",
        "node.id==",
        "node.labels.==x",
        "node.colour==red",
        "node.ip==300.1.1.1",
        "node.role==boss",
        "node.id==a\nb",
        "node.labels.a b==c",
        "node.labels.a\0==c",
    ],
)
def test_what_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec, match="constraint"):
        constraints.parse_one(text)


@given(st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True), st.booleans())
def test_equal_and_unequal_are_opposites_for_every_label_value(value: str, has: bool) -> None:
    made = node()
    if has:
        made.spec.annotations.labels["x"] = value
    equal = constraints.parse_one(f"node.labels.x=={value}").matches(made)
    unequal = constraints.parse_one(f"node.labels.x!={value}").matches(made)
    assert equal == has and unequal != equal


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused_in_one_line(text: str) -> None:
    try:
        parsed = constraints.parse_one(text)
    except InvalidSpec as error:
        assert "\n" not in str(error)
    else:
        assert constraints.parse_one(str(parsed)) == parsed


def test_preferences_spread_over_labels() -> None:
    """What is of neither nodes nor engines is no node's, as in Docker."""
    constraints.check_spread("node.labels.zone")
    constraints.check_spread("com.example.zone")
    assert constraints.spread_value(node(), "com.example.zone") == ""
    with pytest.raises(InvalidSpec):
        constraints.check_spread("")
    assert constraints.spread_value(node(), "node.labels.zone") == "East"
    with pytest.raises(InvalidSpec, match=r"unknown key 'node\.size'"):
        constraints.check_spread("node.size")
    for key in ("node.id", "node.hostname", "Node.Role", "node.platform.arch"):
        constraints.check_spread(key)
    assert constraints.spread_value(node(), "node.id") == node().id
