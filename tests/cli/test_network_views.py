"""`network diagram` and `network trace`: what the managers know, drawn and explained."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from swarmlite.cli.network.diagram import draw
from swarmlite.cli.network.seen import Seen
from swarmlite.cli.network.trace import trace
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.model.task_states import RUNNING
from swarmlite.proto.objects_pb2 import Network, Node, Service, Task


def network(name: str, subnet: str, *, internal: bool = False) -> Network:
    made = Network(id=f"{name}-id")
    made.spec.annotations.name = name
    made.spec.internal = internal
    made.ipam.configs.add(subnet=subnet)
    made.driver_state.options["vni"] = "4097"
    return made


def task(number: int, node: str, healthy: bool = True) -> Task:
    made = Task(id=f"t{number}", service_id="web-id", slot=number, node_id=node)
    made.service_annotations.name = "web"
    made.status.state = made.desired_state = RUNNING
    made.status.healthy = healthy
    made.networks.add(
        network_id="front-id", addresses=[f"10.1.0.{number}/24"], mac=f"02:42:0a:01:00:0{number}"
    )
    return made


@pytest.fixture
def seen() -> Seen:
    front = network("front", "10.1.0.0/24", internal=True)
    web = Service(id="web-id")
    web.spec.annotations.name = "web"
    web.spec.task.networks.add(target="front-id", aliases=["site"])
    web.endpoint.virtual_ips.add(network_id="front-id", addr="10.1.0.200/24")
    nodes = {}
    for number in (1, 2):
        node = nodes[f"n{number}"] = Node(id=f"n{number}")
        node.description.hostname = f"host{number}"
        node.description.data_path_addr = f"192.0.2.{number}"
    return Seen([front], [web], [task(1, "n1"), task(2, "n2"), task(3, "n2", False)], nodes)


def test_a_network_is_drawn_with_its_services_and_tasks(seen: Seen) -> None:
    assert draw(seen, seen.networks) == [
        "front (overlay, internal, 10.1.0.0/24)",
        "└─ web 10.1.0.200",
        "   ├─ web.1 10.1.0.1 on host1 (192.0.2.1)",
        "   ├─ web.2 10.1.0.2 on host2 (192.0.2.2)",
        "   └─ web.3 10.1.0.3 on host2 (192.0.2.2), not in rotation",
    ]


def test_a_name_is_followed_to_the_tasks_behind_it(seen: Seen) -> None:
    """By its own name, an alias, with the network's; those out of rotation are left out."""
    for name in ("web", "SITE", "web.front"):
        assert trace(seen, seen.task("web.1"), name) == [
            "web.1 on host1, on front",
            f"{name} is a name of network front",
            "10.1.0.200 is the VIP of service web, balanced inside",
            "  10.1.0.1 is web.1.t1 on host1, on the same host",
            "  10.1.0.2 is web.2.t2 on host2, by VXLAN 4097 to 192.0.2.2, at 02:42:0a:01:00:02",
        ]


def test_what_is_on_no_network_is_said(seen: Seen) -> None:
    def last(name: str) -> str:
        return trace(seen, seen.task("t1"), name)[-1]

    assert last("example.com").endswith("not asked elsewhere: no way out")
    assert last("192.0.2.9") == "192.0.2.9 is on none of them, and none has a way out"
    assert last("10.1.0.77") == "  10.1.0.77 is nobody's on network front"
    with pytest.raises(InvalidSpec, match="is not a DNS name"):
        last("a..b")
    with pytest.raises(NotFound, match=r"no task web\.9 runs"):
        seen.task("web.9")
    with pytest.raises(InvalidSpec, match="longer id prefix"):
        seen.task("t")


def test_a_managers_word_is_drawn_traced_and_inspected(run: Any, world: Any) -> None:
    """Whole commands against a manager's real API."""
    world.running = True
    assert run("network", "create", "-d", "overlay", "--subnet", "10.9.0.0/24", "net").status == 0
    made = run(
        "service", "create", "-d", "--no-resolve-image", "--name", "w", "--network", "net", "x"
    )
    assert made.status == 0, made.err

    def runs() -> bool:
        return "1/1" in str(run("service", "ls").out)

    deadline = time.monotonic() + 60
    while not runs():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    drawn = run("network", "diagram", "net")
    assert (drawn.status, drawn.err) == (0, "")
    assert drawn.out.startswith("net (overlay")
    traced = run("network", "trace", "w.1", "192.0.2.7")
    assert (traced.status, traced.err) == (0, "")
    assert traced.out.splitlines()[-1].startswith("192.0.2.7 is on none of them: out through")
    gone = run("network", "trace", "w.9", "w")
    assert (gone.status, gone.err) == (1, "no task w.9 runs\n")
    (shown,) = json.loads(run("network", "inspect", "--verbose", "net").out)
    assert list(shown["Services"]) == ["w"] and isinstance(shown["Peers"], list)
    (plain,) = json.loads(run("network", "inspect", "net").out)
    assert "Services" not in plain
