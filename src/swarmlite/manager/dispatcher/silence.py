"""Nodes whose heartbeat is late: their hosts are asked, so that a host without power is known soon.

Three heartbeats are what a busy agent needs. A host that has no power answers nothing, and need not
be waited for so long: where two questions in a row stay without an answer its node is given up.
That counts only of hosts that answered while their agents were heard (a firewall may drop what is
asked there), and only while another node is heard (else it is this manager whose network is gone).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from swarmlite.manager.store.tables import Tables

from . import hosts
from .liveness import Liveness
from .sessions import Sessions

LOOK_S = 0.25
QUESTIONS = 2
TIMEOUT_S = 0.75
FRESH_S = 60.0
"""Then a host is asked again: it may have been busy, or have got a firewall since."""
LEARN_AT_ONCE = 32
"""Hosts asked in one look whether they answer at all."""


class Silence:
    """What is known of the hosts of the nodes that this manager hears."""

    def __init__(
        self, liveness: Liveness, sessions: Sessions, node_id: str, clock: Callable[[], float]
    ) -> None:
        """`node_id` is this manager's, the others are the dispatcher's own."""
        self._liveness, self._sessions = liveness, sessions
        self._node_id, self._clock = node_id, clock
        self._answer: dict[str, tuple[bool, float]] = {}
        """Whether a node's host answered while its agent was heard, and when that was asked."""

    async def look(self, view: Tables) -> list[str]:
        """Ask the hosts of late nodes that have a session here; the nodes to be given up."""
        here = set(self._sessions.node_ids())
        late = here & set(self._liveness.late(self._clock()))
        heard = here - late
        for node_id in self._answer.keys() - here:
            del self._answer[node_id]
        await self._learn(view, [i for i in heard if not self._is_fresh(i)])
        if not heard - {self._node_id}:
            return []
        silent = {node_id for node_id in late if self._answer.get(node_id, (False,))[0]}
        for _ in range(QUESTIONS):
            silent -= await self._alive(view, silent)
        return [i for i in self._liveness.late(self._clock()) if i in silent]

    def _is_fresh(self, node_id: str) -> bool:
        asked = self._answer.get(node_id)
        return asked is not None and self._clock() - asked[1] < FRESH_S

    async def _learn(self, view: Tables, heard: Sequence[str]) -> None:
        some = heard[:LEARN_AT_ONCE]
        alive = await self._alive(view, some)
        now = self._clock()
        self._answer.update((node_id, (node_id in alive, now)) for node_id in some)

    @staticmethod
    async def _alive(view: Tables, node_ids: Iterable[str]) -> set[str]:
        nodes = [node for i in node_ids if (node := view.nodes.get(i)) is not None]
        asked = [(node.id, node.status.addr) for node in nodes]
        return set(await hosts.alive(asked, TIMEOUT_S)) if asked else set()
