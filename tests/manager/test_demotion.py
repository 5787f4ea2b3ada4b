"""Who is demoted is taken out of etcd first, one at a time, and only while a majority is left."""

from __future__ import annotations

import pytest

from swarmlite.errors import Unavailable
from swarmlite.manager.ca.service import new_node
from swarmlite.manager.members import LEARNING_S, PROMOTE_S, Pace
from swarmlite.manager.roles import LostLearners, demote, stands
from swarmlite.manager.store.api import Fence, Fenced, Put
from swarmlite.manager.store.memory import MemoryStore
from swarmlite.manager.store.tables import Tables
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import MANAGER, WORKER, NodeStatus

FENCE = Fence(1)


class Etcd:
    """The members, by what happens to them."""

    def __init__(self) -> None:
        self.removed: list[tuple[str, str]] = []
        self.silent: dict[str, str] = {}
        self.fails = False

    async def remove(self, node_id: str, member_id: str = "") -> None:
        if self.fails:
            raise Unavailable("no quorum")
        self.removed.append((node_id, member_id))

    async def unstarted(self) -> dict[str, str]:
        return self.silent


async def managers(*going: str, count: int = 3) -> MemoryStore:
    store = MemoryStore()
    store.epoch = FENCE.epoch
    for number in range(1, count + 1):
        node = new_node(f"m{number}", MANAGER)
        node.manager_status.etcd_member_id = f"e{number}"
        node.status.state = NodeStatus.READY
        if node.id in going:
            node.spec.desired_role = WORKER
        await store.commit([Put(node)])
    return store


def roles(store: MemoryStore) -> dict[str, int]:
    return {node.id: node.role for node in store.view.nodes}


async def test_one_a_round_is_taken_out_and_a_worker_only_then() -> None:
    store, etcd = await managers("m2", "m3"), Etcd()
    etcd.fails = True
    with pytest.raises(Unavailable):
        await demote(etcd, lambda _: True, store, "m1", FENCE)
    assert roles(store) == {"m1": MANAGER, "m2": MANAGER, "m3": MANAGER}
    etcd.fails = False
    await demote(etcd, lambda _: True, store, "m1", FENCE)
    assert etcd.removed == [("m2", "e2")]
    assert roles(store) == {"m1": MANAGER, "m2": WORKER, "m3": MANAGER}
    await demote(etcd, lambda _: True, store, "m1", FENCE)
    assert roles(store) == {"m1": MANAGER, "m2": WORKER, "m3": WORKER}
    assert not store.view.nodes.get("m2").HasField("manager_status")  # type: ignore[union-attr]


async def test_nobody_is_taken_out_where_the_quorum_would_go() -> None:
    store, etcd = await managers("m2"), Etcd()
    await demote(etcd, lambda node_id: node_id != "m3", store, "m1", FENCE)
    assert (etcd.removed, roles(store)["m2"]) == ([], MANAGER)
    await demote(etcd, lambda _: True, store, "m1", FENCE)
    assert roles(store)["m2"] == WORKER


async def test_a_leader_that_is_demoted_gives_up_and_does_not_stand_again() -> None:
    store, etcd = await managers("m1"), Etcd()
    with pytest.raises(Fenced):
        await demote(etcd, lambda _: True, store, "m1", FENCE)
    assert etcd.removed == []
    assert not stands(store.view, "m1")
    assert stands(store.view, "m2")
    alone = await managers("m1", count=1)
    assert stands(alone.view, "m1")  # nobody else can
    await demote(etcd, lambda _: True, alone, "m1", FENCE)
    assert (etcd.removed, roles(alone)) == ([], {"m1": MANAGER})


async def test_what_an_interrupted_join_left_is_taken_out_after_a_while() -> None:
    """The node too, if it never came to be; one with a session is a promotion that goes on."""
    store, etcd, now = await managers(), Etcd(), [0.0]
    for node_id, state in (("m3", NodeStatus.UNKNOWN), ("m2", NodeStatus.READY)):
        node = store.view.nodes.get(node_id)
        assert node is not None
        node.status.state = state
        await store.commit([Put(node)])
    lost = LostLearners(lambda: now[0], after_s=60)
    etcd.silent = {"e3": "https://10.0.0.3:2382", "e2": "https://10.0.0.2:2382"}
    await lost.look(etcd, store, FENCE)
    now[0] = 59
    await lost.look(etcd, store, FENCE)
    assert etcd.removed == []
    etcd.silent.pop("e2")  # it has started
    now[0] = 61
    await lost.look(etcd, store, FENCE)
    assert etcd.removed == [("", "e3")]
    assert set(roles(store)) == {"m1", "m2"}


def test_a_learner_that_does_not_catch_up_is_looked_at_as_seldom_as_the_rest() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert pace.after(0) == PROMOTE_S
    for moment, wait_s in ((100, LEARNING_S), (129, LEARNING_S), (131, PROMOTE_S)):
        now[0] = moment
        assert pace.after(1) == wait_s
    assert pace.after(0) == PROMOTE_S
    assert pace.after(1) == LEARNING_S  # another one


def test_managers_are_found_by_their_present_role() -> None:
    view = Tables()
    node = Node(id="n1", role=MANAGER)
    view.nodes.put(node)
    view.nodes.put(Node(id="n2", role=WORKER))
    assert [found.id for found in view.nodes.managers()] == ["n1"]
    view.nodes.put(Node(id="n2", role=MANAGER))
    view.nodes.put(Node(id="n1", role=WORKER))
    assert [found.id for found in view.nodes.managers()] == ["n2"]
    view.nodes.pop("n2")
    assert not view.nodes.managers()
