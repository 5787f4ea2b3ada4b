"""The Control API for nodes and the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api_world import Manager, ask, node, refused, task

from swarmlite import rpc
from swarmlite.errors import Conflict, FailedPrecondition
from swarmlite.manager.server import serving
from swarmlite.model import task_states
from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import MANAGER, WORKER, ManagerStatus, NodeStatus


async def test_availability_and_labels_are_updated_against_the_version_read(
    control: ControlStub, manager: Manager
) -> None:
    manager.put(node(manager.node_id, manager=True, ready=True), node("n1"))
    me = await ask(control.GetNode(pb.GetRequest(ref="self")))
    assert me.id == manager.node_id
    found = await ask(control.GetNode(pb.GetRequest(ref="host-n1")))
    request = pb.UpdateNodeRequest(node_id="n1", version=found.meta.version, spec=found.spec)
    request.spec.availability = NodeSpec.DRAIN
    request.spec.annotations.labels["ssd"] = "true"
    updated = await ask(control.UpdateNode(request))
    assert updated.spec.availability == NodeSpec.DRAIN
    await refused(control.UpdateNode(request), Conflict, "out of sequence")
    listing = pb.ListRequest(filters=[pb.Filter(key="node.label", values=["ssd=true"])])
    assert [n.id for n in (await ask(control.ListNodes(listing))).nodes] == ["n1"]
    listing = pb.ListRequest(filters=[pb.Filter(key="role", values=["manager"])])
    assert [n.id for n in (await ask(control.ListNodes(listing))).nodes] == [manager.node_id]


async def test_the_last_manager_cannot_be_demoted_nor_the_quorum_lost(
    control: ControlStub, manager: Manager
) -> None:
    manager.put(node(manager.node_id, manager=True, ready=True))
    me = await ask(control.GetNode(pb.GetRequest(ref="self")))
    request = pb.UpdateNodeRequest(node_id=me.id, version=me.meta.version, spec=me.spec)
    request.spec.desired_role = WORKER
    await refused(control.UpdateNode(request), FailedPrecondition, "last manager")
    dead, alive = (node(i, manager=True, ready=True) for i in ("m2", "m3"))
    dead.manager_status.reachability = ManagerStatus.UNREACHABLE
    alive.manager_status.reachability = ManagerStatus.REACHABLE
    manager.put(dead, alive)
    await refused(control.UpdateNode(request), FailedPrecondition, "not a quorum")
    # A manager counts that is seen in etcd, also while its agent starts again.
    dead.manager_status.reachability = ManagerStatus.REACHABLE
    dead.status.state = dead.status.DOWN
    manager.put(dead)
    await ask(control.UpdateNode(request))


async def test_a_role_is_desired_of_nodes_that_can_take_it(
    control: ControlStub, manager: Manager
) -> None:
    nodes = [node(f"m{n}", manager=True, ready=True) for n in (2, 3)]
    workers = [node("w1", ready=True), node("w2")]
    manager.put(node(manager.node_id, manager=True, ready=True), *workers, *nodes)

    async def desire(ref: str, role: Any) -> Any:
        found = await ask(control.GetNode(pb.GetRequest(ref=ref)))
        request = pb.UpdateNodeRequest(
            node_id=found.id, version=found.meta.version, spec=found.spec
        )
        request.spec.desired_role = role
        return request

    for ref, role in (("w1", MANAGER), ("m2", WORKER)):
        changed = await ask(control.UpdateNode(await desire(ref, role)))
        assert changed.spec.desired_role == role
        assert changed.role != role  # that comes once the node has followed
    request = await desire("w2", MANAGER)
    await refused(control.UpdateNode(request), FailedPrecondition, "host-w2 is not ready")


async def test_a_node_is_removed_when_down_its_certificate_refused_its_tasks_orphaned(
    control: ControlStub, manager: Manager
) -> None:
    mine = task("n1")
    manager.put(node("n1", ready=True), node("m2", manager=True), mine)
    request = pb.RemoveNodeRequest(ref="n1")
    await refused(control.RemoveNode(request), FailedPrecondition, "not down")
    request.force = True
    await ask(control.RemoveNode(request))
    view = manager.store.view
    assert "n1" not in view.nodes
    assert view.cluster is not None and "n1" in view.cluster.blacklisted_certificates
    stored = view.tasks.get(mine.id)
    assert stored is not None and stored.status.state == task_states.ORPHANED


async def test_tokens_rotate_one_at_a_time_and_settings_are_checked(
    control: ControlStub, manager: Manager
) -> None:
    before = await ask(control.GetCluster(pb.GetRequest()))
    request = pb.UpdateClusterRequest(version=before.meta.version, rotate_worker_token=True)
    after = await ask(control.UpdateCluster(request))
    old, new = before.root_ca.join_tokens, after.root_ca.join_tokens
    assert new.worker != old.worker and new.worker.startswith(f"SWMTKN-1-{'x' * 50}-")
    assert new.manager == old.manager
    kept = manager.store.view.cluster
    assert kept is not None and kept.root_ca.ca_key == b"secret key"
    request = pb.UpdateClusterRequest(version=after.meta.version, spec=after.spec)
    request.spec.dispatcher.heartbeat_period.seconds = 2
    changed = await ask(control.UpdateCluster(request))
    assert changed.spec.dispatcher.heartbeat_period.seconds == 2


class Members:
    """Says what was taken out of etcd."""

    def __init__(self) -> None:
        self.removed: list[tuple[str, str]] = []

    async def remove(self, node_id: str, member_id: str = "") -> None:
        self.removed.append((node_id, member_id))


async def test_a_dead_manager_is_removed_by_force_with_its_member_of_etcd(
    control: ControlStub, manager: Manager
) -> None:
    members = Members()
    manager.control._nodes._members = members
    me, dead, alive = (node(i, manager=True, ready=True) for i in (manager.node_id, "m2", "m3"))
    dead.status.state = dead.status.DOWN
    alive.status.state = alive.status.DOWN  # its agent starts again
    alive.manager_status.reachability = ManagerStatus.REACHABLE
    dead.manager_status.etcd_member_id = "ab12"
    manager.put(me, dead, alive)
    for ref in ("self", "m3"):
        for force in (False, True):
            request = pb.RemoveNodeRequest(ref=ref, force=force)
            line = "is a cluster manager that runs: demote it before its removal"
            await refused(control.RemoveNode(request), FailedPrecondition, line)
    request = pb.RemoveNodeRequest(ref="m2")
    line = "if it is gone for good, take it out of the managers with --force"
    await refused(control.RemoveNode(request), FailedPrecondition, line)
    assert not members.removed
    request.force = True
    await ask(control.RemoveNode(request))
    view = manager.store.view
    assert members.removed == [("m2", "ab12")] and "m2" not in view.nodes
    assert view.cluster is not None and "m2" in view.cluster.blacklisted_certificates


async def test_a_manager_that_etcd_lost_sight_of_is_not_removed_while_it_or_its_agent_answers(
    control: ControlStub, manager: Manager, socket_path: Path
) -> None:
    """By force neither; what listens at its address under another name is not it."""
    members, busy = Members(), Manager(manager.store, "m2")
    place = socket_path.with_name("busy.sock")
    manager.control._nodes._members = members
    manager.control._nodes._channel = lambda address: rpc.unix_channel(place)
    nodes = [node(i, manager=True) for i in (manager.node_id, "m2", "m3", "m4")]
    for each in nodes:
        each.manager_status.reachability = ManagerStatus.UNREACHABLE
        each.manager_status.addr = "127.0.0.77:2377"  # a kernel that answers
    nodes[3].status.state = NodeStatus.READY
    manager.put(*nodes)
    register = [busy.register]
    options: dict[str, Any] = {"listen_addr": None, "certificates_dir": place.parent}
    async with serving(register, lambda: busy.store.view, socket_path=place, **options):
        for ref in ("m2", "m4"):  # the one answers itself, the other's agent has a session
            request = pb.RemoveNodeRequest(ref=ref, force=True)
            line = "is a cluster manager that runs: demote it before its removal"
            await refused(control.RemoveNode(request), FailedPrecondition, line)
        await ask(control.RemoveNode(pb.RemoveNodeRequest(ref="m3", force=True)))
    await ask(control.RemoveNode(pb.RemoveNodeRequest(ref="m2", force=True)))
    assert [node_id for node_id, _ in members.removed] == ["m3", "m2"]


async def test_without_a_quorum_the_list_says_that_it_may_be_old_and_nobody_leads(
    control: ControlStub, manager: Manager
) -> None:
    me, other = (node(i, manager=True, ready=True) for i in (manager.node_id, "m2"))
    for each in (me, other):
        each.manager_status.reachability = ManagerStatus.REACHABLE
    other.manager_status.leader = True
    manager.put(me, other, node("w1", ready=True))
    fresh = await ask(control.ListNodes(pb.ListRequest()))
    assert not fresh.stale and [n.id for n in fresh.nodes if n.manager_status.leader] == ["m2"]
    manager.store.connected = False
    old = await ask(control.ListNodes(pb.ListRequest()))
    assert old.stale and not any(n.manager_status.leader for n in old.nodes)
    assert {n.id: n.manager_status.reachability for n in old.nodes} == {
        manager.node_id: ManagerStatus.REACHABLE,
        "m2": ManagerStatus.UNKNOWN,
        "w1": ManagerStatus.UNKNOWN,
    }
    assert not (await ask(control.GetNode(pb.GetRequest(ref="m2")))).manager_status.leader
