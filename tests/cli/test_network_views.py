"""`network diagram`, `trace` and `check`: what the managers know and nodes find, explained."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from swarmlite.cli.network.check import judge
from swarmlite.cli.network.diagram import draw
from swarmlite.cli.network.seen import Seen
from swarmlite.cli.network.trace import trace
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.model.task_states import RUNNING
from swarmlite.proto.control_pb2 import CheckNetworkResponse, NetworkFindings, PeerFinding
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


def checked(name: str, *peers: PeerFinding, **found: Any) -> CheckNetworkResponse:
    made = CheckNetworkResponse(hostname=name, findings=NetworkFindings(peers=peers, **found))
    made.node.node_id, made.node.addr = name, f"192.0.2.{name[-1]}"
    return made


def test_a_check_says_which_way_fails_where_and_why() -> None:
    """A rule on either side, a packet too large, what nobody sees, a node without a word."""

    def heard(node: str, size: int = 1450, **more: Any) -> PeerFinding:
        return PeerFinding(node_id=node, heard_bytes=size, **more)

    well = [checked("w1", heard("w2"), mtu=1450), checked("w2", heard("w1"), mtu=1450)]
    assert list(judge("front", well)) == [
        ("front: all 2 nodes hear each other, packets of 1450 bytes", False)
    ]
    alone = "front is on node w1 only: there is nothing to probe between nodes"
    assert list(judge("front", well[:1])) == [(alone, False)]
    faults = [
        checked("w1", heard("w2", 1250), heard("w3", 0, sending="rule a"), mtu=1450),
        checked("w2", heard("w1", 0, arriving="rule b"), heard("w3", 0, arrived=True), mtu=1450),
        checked("w3", heard("w1", 0), heard("w2", 0), mtu=1400, repairs=["port joined again"]),
        checked("w4", error="it has no session with a manager"),
    ]
    assert [line for line, _ in judge("front", faults)] == [
        "w3: repaired just now: port joined again",
        "w4: cannot be probed: it has no session with a manager",
        "the nodes differ in the bytes of a packet: 1450 on w1, 1450 on w2, 1400 on w3",
        "w1 to w2: nothing gets in at w2: rule b",
        "w1 to w3: nothing leaves w1: rule a",
        "w2 to w1: packets above 1250 bytes are lost: some link on the way takes less than w2's"
        " (make the network with -o com.docker.network.driver.mtu=1250, or mend the link)",
        "w2 to w3: nothing arrives at w3 (192.0.2.3): between the hosts something drops UDP of the"
        " data path's port",
        "w3 to w1: nothing arrives at w1 (192.0.2.1): between the hosts something drops UDP of the"
        " data path's port",
        "w3 to w2: packets reach w2, and no rule of nftables drops them there",
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
