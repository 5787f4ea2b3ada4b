"""Who may go next where only one member of etcd at a time may be away, for seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from swarmlite.proto.control_pb2 import StoreMember

Wants = Callable[[StoreMember], bool]

PAYS_BYTES = 64 * 1024**2
"""Free inside of a member's file: below it a defragmentation is not worth the wait."""


def is_first(members: Sequence[StoreMember], node_id: str, wants: Wants) -> bool:
    """Whether the node's member is the next: nobody is away, those that are left are a quorum, and
    whoever wants it too comes later. The leader goes last, the others by their ids.
    """
    if any(member.busy for member in members if member.node_id != node_id):
        return False
    voters = [member for member in members if not member.learner]
    left = [m for m in voters if m.node_id != node_id and not m.error]
    # Of two neither can be away without a gap, and it is short: both have to be there.
    needed = len(voters) // 2 + 1 if len(voters) > 2 else len(voters) - 1
    if len(left) < needed:
        return False
    queue = sorted(
        (member for member in members if not member.error and wants(member)),
        key=lambda member: (member.leader, member.node_id),
    )
    return bool(queue) and queue[0].node_id == node_id


def pays(member: StoreMember) -> bool:
    """Whether a defragmentation gives back enough of the disk."""
    free = member.size_bytes - member.used_bytes
    return free >= PAYS_BYTES and 2 * free >= member.size_bytes


def has_room(members: Sequence[StoreMember], quota_bytes: int) -> bool:
    """Whether every member that answers takes writes, once its alarm is off."""
    sizes = [member.size_bytes for member in members if not member.error]
    return bool(sizes) and max(sizes) < 0.9 * quota_bytes
