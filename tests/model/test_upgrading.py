"""An upgrade's check: the order of nodes, and everything that hinders it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.model import upgrading
from swarmlite.proto.objects_pb2 import Cluster, Node, Service
from swarmlite.proto.types_pb2 import ManagerStatus, NodeRole, NodeStatus, UpdateStatus

NOW = datetime(2030, 1, 10, tzinfo=UTC)


def node(
    name: str, version: str = "1.4.2", role: int = NodeRole.WORKER, leader: bool = False
) -> Node:
    made = Node(id=name, role=role)  # type: ignore[arg-type]
    made.spec.desired_role = made.role
    made.description.hostname = name
    made.description.engine.engine_version = version
    made.status.state = NodeStatus.READY
    if role == NodeRole.MANAGER:
        made.manager_status.reachability = ManagerStatus.REACHABLE
        made.manager_status.leader = leader
    return made


def nodes() -> list[Node]:
    managers = [node(f"m{i}", role=NodeRole.MANAGER, leader=i == 1) for i in (1, 2, 3)]
    return [node("w2"), *managers, node("w1", "1.5.0")]


def saved(age: timedelta = timedelta(hours=3)) -> Cluster:
    made = Cluster()
    made.last_backup.FromDatetime(NOW - age)
    return made


def test_managers_go_first_and_the_leader_last_of_them() -> None:
    """Who runs the release already stays."""
    found = upgrading.check(saved(), nodes(), [], "1.5.0", NOW)
    assert [each.id for each in found.order] == ["m2", "m3", "m1", "w2"]
    assert (found.hindrances, found.remarks) == ([], [])
    assert upgrading.check(saved(), [node("w1", "1.5.0")], [], "1.5.0", NOW).order == []


@pytest.mark.parametrize(
    ("target", "said"),
    [("1.6.0", "go to 1.5 first"), ("2.0.0", "go to 1.5 first"), ("1.3.9", "nobody goes back")],
)
def test_a_release_that_is_further_than_the_next_is_refused(target: str, said: str) -> None:
    """And one that is older."""
    found = upgrading.check(saved(), [node("w1")], [], target, NOW)
    assert len(found.hindrances) == 1 and said in found.hindrances[0]


def test_what_is_under_way_or_away_hinders_it() -> None:
    """One line each."""
    known = nodes()
    known[1].manager_status.reachability = ManagerStatus.UNREACHABLE
    known[2].spec.desired_role = NodeRole.WORKER
    known[4].status.state = NodeStatus.DOWN
    cluster = saved(timedelta(days=3, hours=2))
    cluster.root_ca.rotation.ca_cert = b"x"
    cluster.restored.revision = 1
    service = Service()
    service.spec.annotations.name = "web"
    service.update_status.state = UpdateStatus.UPDATING
    found = upgrading.check(cluster, known, [service], "1.5.0", NOW, ["it is full"])
    text = "\n".join(found.hindrances)
    for part in (
        "manager m1 does not answer: bring it back, or take it out (swarmlite node rm --force m1)",
        "m2 is being promoted or demoted",
        "w1 is down",
        "a rotation of the CA is under way",
        "restore --settle",
        "service web is being updated",
        "the store: it is full",
        "the last backup is 3 days and 2 hours old",
    ):
        assert part in text, part
    assert len(found.hindrances) == 8, text
    assert "there is no backup" in upgrading.check(Cluster(), [], [], "1.5", NOW).hindrances[0]


def test_few_managers_are_remarked() -> None:
    """One has nobody to lead meanwhile, two have no quorum."""
    one = upgrading.check(saved(), [node("m", role=NodeRole.MANAGER)], [], "1.5.0", NOW)
    assert "containers run on" in one.remarks[0] and not one.hindrances
    two = [node(name, role=NodeRole.MANAGER) for name in "ab"]
    assert "promote a third" in upgrading.check(saved(), two, [], "1.5.0", NOW).hindrances[0]


def test_what_is_no_release_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="'garbage' is no release"):
        upgrading.check(Cluster(), nodes(), [], "garbage", NOW)
