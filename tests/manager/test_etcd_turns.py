"""Whose turn it is to be away, and what is told of the store's health: decided, not done."""

from __future__ import annotations

from swarmlite.manager.etcdcare import disk, turns
from swarmlite.manager.etcdcare.health import CORRUPT, NOSPACE, warnings
from swarmlite.proto.control_pb2 import StoreHealth, StoreMember

MIB = 1024**2


def member(name: str, **fields: object) -> StoreMember:
    made = StoreMember(node_id=name, name=name, size_bytes=200 * MIB, used_bytes=10 * MIB)
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def next_one(*members: StoreMember) -> list[str]:
    """Everybody whose turn it is, as each of them finds."""
    return [m.node_id for m in members if turns.is_first(members, m.node_id, turns.pays)]


def test_one_goes_after_the_other_and_the_leader_last() -> None:
    """By their ids, whoever looks."""
    a, b, c = member("a", leader=True), member("b"), member("c")
    assert next_one(a, b, c) == ["b"]
    b.size_bytes = b.used_bytes
    assert next_one(a, b, c) == ["c"]
    c.size_bytes = c.used_bytes
    assert next_one(a, b, c) == ["a"]


def test_nobody_goes_while_another_is_away_or_the_quorum_would_be_lost() -> None:
    """A busy one, and one that does not answer."""
    assert next_one(member("a", busy=True), member("b"), member("c")) == ["a"]
    assert next_one(member("a", error="frozen"), member("b"), member("c")) == []
    five = [member(name) for name in "abcde"]
    five[0].error = "gone"
    assert next_one(*five) == ["b"]
    assert next_one(member("a")) == ["a"]
    assert next_one(member("a"), member("b")) == ["a"]
    assert next_one(member("a", error="gone"), member("b")) == []


def test_a_defragmentation_has_to_pay() -> None:
    """Half of a file of some size."""
    assert turns.pays(member("a"))
    assert not turns.pays(member("a", size_bytes=40 * MIB))
    assert not turns.pays(member("a", used_bytes=150 * MIB))
    assert turns.has_room([member("a"), member("b", error="gone")], 300 * MIB)
    assert not turns.has_room([member("a"), member("b", size_bytes=280 * MIB)], 300 * MIB)
    assert not turns.has_room([], 300 * MIB)


METRICS = """# TYPE etcd_disk_wal_fsync_duration_seconds histogram
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} %d
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.064"} %d
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.128"} %d
etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"} %d
etcd_disk_wal_fsync_duration_seconds_sum 3.9
"""


def test_a_disk_is_as_fast_as_nine_of_ten_of_its_late_syncs() -> None:
    """What was before the last look does not count."""
    before, fast, slow = (
        disk.counted(METRICS % counts)
        for counts in ((900, 990, 1000, 1000), (990, 1089, 1100, 1100), (910, 1000, 1100, 1100))
    )
    assert disk.nine_of_ten({}, before) == 0.001
    assert disk.nine_of_ten(before, fast) == 0.001
    assert disk.nine_of_ten(before, slow) == 0.128
    assert disk.nine_of_ten(before, before) == 0.0


def test_what_is_wrong_is_told_with_the_way_out() -> None:
    """A full store, one that is nearly full, a slow disk, a member that is away."""
    health = StoreHealth(members=[member("a", sync_s=0.2), member("b", error="frozen")])
    health.quota_bytes = 11 * MIB
    full, *rest = warnings(health, [NOSPACE])
    assert "remove services, secrets or configs" in full and "--etcd-quota" in full
    assert [line.split(":")[0] for line in rest] == [
        "the disk of a takes 200 ms for a sync (nine of ten)",
        "etcd on b does not answer",
    ]
    assert warnings(health, [])[0].startswith("the store on a is full to 91%: remove")
    assert "CORRUPT" in warnings(StoreHealth(), [CORRUPT])[0]
    assert "etcdctl alarm disarm" in warnings(StoreHealth(external=True), [NOSPACE])[0]
    assert warnings(StoreHealth(members=[member("a")]), []) == []
