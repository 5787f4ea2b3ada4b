"""When a node counts as gone: deadlines by node, on a clock that the caller gives."""

from __future__ import annotations

from collections.abc import Iterable

MISSED_PERIODS = 3
"""Heartbeats that a node may miss."""

LATE = 1.05
"""Periods after which a heartbeat is late: agents send theirs a little early."""

START_PERIODS = 6
"""Periods that a node has to come back in after the managers started, or a leader was elected."""

RECONNECT_S = 5.0
"""What a node whose stream ended has to open another, or its host to answer: an agent that was
killed or upgraded is back in a few seconds, and its containers, which run on, must not be replaced.
Where the host answers (`hosts.py`), it has all of MISSED_PERIODS."""

DYING_S = 1.0
"""A host that loses its power or is shut down may answer for this long after its agent's stream."""


class Liveness:
    """Deadlines of the nodes that this manager answers for; seconds throughout."""

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._deadlines: dict[str, float] = {}
        self._ended: dict[str, float] = {}

    def heard(self, node_id: str, now: float) -> None:
        """A message came from the node."""
        self._ended.pop(node_id, None)
        self._deadlines[node_id] = now + MISSED_PERIODS * self.period_s

    def ended(self, node_id: str, now: float) -> None:
        """The node's stream ended."""
        self._ended[node_id] = now
        self._deadlines[node_id] = now + min(RECONNECT_S, MISSED_PERIODS * self.period_s)

    def silence_s(self, node_id: str, now: float) -> float | None:
        """How long nothing came from a node; what this manager itself missed is left out."""
        deadline = self._deadlines.get(node_id)
        if deadline is None or node_id in self._ended:
            return None
        return max(0.0, now + MISSED_PERIODS * self.period_s - deadline)

    def late(self, now: float) -> list[str]:
        """The nodes whose heartbeat should have come: of streams that have not ended."""
        least = now + (MISSED_PERIODS - LATE) * self.period_s
        return [i for i, at in self._deadlines.items() if at < least and i not in self._ended]

    def give_up(self, node_id: str, now: float) -> None:
        """The node's host is gone: its deadline is now."""
        if node_id in self._deadlines:
            self._deadlines[node_id] = now

    def unheard(self, now: float) -> list[str]:
        """The nodes whose stream ended a moment ago, and of whose hosts nothing is known since."""
        return [node_id for node_id, at in self._ended.items() if now - at >= DYING_S]

    def host_answers(self, node_id: str) -> None:
        """The host of a node whose stream ended lives: its agent has as long as for a heartbeat."""
        ended = self._ended.pop(node_id, None)
        if ended is not None and node_id in self._deadlines:
            self._deadlines[node_id] = ended + MISSED_PERIODS * self.period_s

    def expect(self, node_ids: Iterable[str], now: float, *, soon: bool = False) -> None:
        """These nodes have yet to be heard of; those that were are left alone.

        `soon`: they could have come here all the time, once their own manager no longer answered.
        """
        patience_s = START_PERIODS * self.period_s
        if soon:
            patience_s = min(patience_s, 2 * RECONNECT_S)
        for node_id in node_ids:
            self._deadlines.setdefault(node_id, now + patience_s)

    def forget_all(self) -> None:
        """They are others' to watch."""
        self._deadlines.clear()
        self._ended.clear()

    def forget(self, node_id: str) -> None:
        """The node was removed, or is another manager's to watch."""
        self._deadlines.pop(node_id, None)
        self._ended.pop(node_id, None)

    def postpone(self, seconds: float) -> None:
        """The manager itself did not listen for so long: nobody is to blame for that time."""
        for node_id in self._deadlines:
            self._deadlines[node_id] += seconds
        for node_id in self._ended:
            self._ended[node_id] += seconds

    def expired(self, now: float) -> list[str]:
        """The nodes whose deadline has passed; each is answered once."""
        late = [node_id for node_id, deadline in self._deadlines.items() if deadline <= now]
        for node_id in late:
            del self._deadlines[node_id]
            self._ended.pop(node_id, None)
        return late

    def wake_at(self) -> float | None:
        """The first deadline."""
        return min(self._deadlines.values(), default=None)
