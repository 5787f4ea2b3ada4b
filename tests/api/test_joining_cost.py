"""What nodes are told while they join, in bytes, over sessions that are only simulated."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from api_world import node

from swarmlite.manager.dispatcher import assignments
from swarmlite.manager.dispatcher.assignments import AssignmentSet
from swarmlite.manager.dispatcher.ingress_nodes import IngressChanges, Standing
from swarmlite.manager.store.api import Action, Event, Put, kind_of
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.model import task_states
from swarmlite.proto.dispatcher_pb2 import Endpoint
from swarmlite.proto.objects_pb2 import Network, Node, Service, Task
from swarmlite.proto.types_pb2 import NodeRole

SERVICES, HOSTS = 100, 20


class Joining:
    """A manager whose nodes join one after the other, and how many bytes each of them was sent."""

    def __init__(self) -> None:
        self.store, self.set = MemoryStore(), AssignmentSet()
        self.bytes: Counter[str] = Counter()
        self.joined: list[str] = []
        ingress = Network(id="ing")
        ingress.spec.ingress = True
        ingress.ipam.configs.add(subnet="10.0.0.0/16")
        self.put(ingress)
        for number in range(SERVICES):
            service = Service(id=f"s{number}")
            service.spec.annotations.name = f"web-{number}"
            service.endpoint.ports.add(target_port=80, published_port=8000 + number)
            self.put(service)
            task = Task(id=f"t{number}", service_id=service.id, node_id=f"n{number % HOSTS}")
            task.status.state = task.desired_state = task_states.RUNNING
            task.status.healthy = True
            task.networks.add(network_id="ing", addresses=[f"10.0.200.{number}/16"])
            self.put(task)

    def put(self, obj: Network | Service | Task | Node) -> None:
        self.store.commit_now([Put(obj)])
        table = self.store.view.table(kind_of(obj))
        self.set.observe([Event(Action.CREATE, kind_of(obj), table.get(obj.id), None)])

    def join(self, count: int) -> None:
        """As many more, each with its first message, and what the others hear of it."""
        for number in range(len(self.joined), len(self.joined) + count):
            made = node(f"n{number}")
            if not number:
                made.role = NodeRole.MANAGER
            made.description.data_path_addr = f"192.168.{number // 250}.{number % 250 + 1}"
            made.attachments.add(
                network_id="ing", addresses=[f"10.0.{number // 250}.{number % 250 + 1}/16"]
            )
            self.put(made)
            for name, changes in self.set.flush(self.store.view, self.joined).items():
                self.bytes[name] += sum(change.ByteSize() for change in changes)
            first = self.set.complete(self.store.view, made.id)
            self.bytes[made.id] += sum(change.ByteSize() for change in first)
            self.joined.append(made.id)


def test_what_joining_nodes_are_told_grows_with_their_number_and_not_with_its_square() -> None:
    """With 100 published services; a node without tasks hears the same however many join."""
    world = Joining()
    world.join(200)
    small, quiet = world.bytes.total(), world.bytes["n150"]
    world.join(200)
    assert world.bytes.total() < 2.2 * small
    assert world.bytes["n150"] == quiet
    assert world.bytes["n350"] < 1.1 * quiet


def test_what_a_join_makes_a_manager_look_at_does_not_grow_with_the_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that lead connections to the tasks are looked at, and not each node that there is."""
    asked: list[str] = []
    difference = assignments.difference

    def counted(changes: IngressChanges, node_id: str, *rest: Any) -> Any:
        asked.append(node_id)
        return difference(changes, node_id, *rest)

    monkeypatch.setattr(assignments, "difference", counted)
    world = Joining()
    world.join(200)
    for _ in range(2):
        asked.clear()
        world.join(50)
        assert len(asked) == 50 * HOSTS


class Compared(str):
    """An id that counts what it is compared with."""

    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_who_joins_is_told_of_the_ingress_without_a_look_at_other_networks() -> None:
    """The nodes that have to know all are at hand, whichever network is the ingress by then."""
    standing = Standing()
    for number in range(1000):
        for network_id in ("ing", f"net{number}"):
            endpoint = Endpoint(task_id=f"t{number}", node_id=f"n{number % 20}")
            endpoint.network_id = network_id
            standing.count(endpoint, 1)
    standing.ingress_id = Compared("ing")
    assert standing.knowing_all() == {f"n{number}" for number in range(20)}
    assert standing.knows_all("n7") and not standing.knows_all("n20")
    assert Compared.times < 20
    standing.ingress_id = "net7"
    endpoint = Endpoint(task_id="t7", node_id="n7", network_id="net7")
    assert standing.knowing_all() == {"n7"}
    standing.count(endpoint, -1)
    assert not standing.knowing_all() and not standing.knows_all("n7")
