"""Checks of networks: this manager's nodes are asked, and what they find is passed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from swarmlite.errors import FailedPrecondition
from swarmlite.manager.dispatcher.sessions import Sessions
from swarmlite.model.validate.reports import bounded_findings
from swarmlite.proto.control_pb2 import NetworkFindings, NetworkPeer
from swarmlite.proto.dispatcher_pb2 import CheckNetwork, ManagerMessage

NO_SESSION = "it has no session with a manager"
Found = asyncio.Queue[tuple[str, NetworkFindings]]


class Checks:
    """The checks that this manager's nodes take part in; nothing of one outlives its call."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._checks: dict[str, tuple[frozenset[str], Found]] = {}
        sessions.listen(self._session_changed)

    def here(self, node_id: str) -> bool:
        """Whether a node has a session with this manager."""
        return self._sessions.get(node_id) is not None

    def received(self, node_id: str, findings: NetworkFindings) -> None:
        """A node that was asked has found something."""
        asked, found = self._checks.get(findings.id, (frozenset(), None))
        if found is not None and node_id in asked:
            found.put_nowait((node_id, bounded_findings(findings)))

    def _session_changed(self, node_id: str, here: bool) -> None:
        if here:
            return
        for check_id, (asked, found) in self._checks.items():
            if node_id in asked:
                found.put_nowait((node_id, NetworkFindings(id=check_id, error=NO_SESSION)))

    @asynccontextmanager
    async def asking(
        self, check_id: str, network_id: str, nodes: Sequence[NetworkPeer], asked: Sequence[str]
    ) -> AsyncIterator[Found]:
        """Have `asked`, of the `nodes` that take part, probe; they end when this is left.

        Raises FailedPrecondition for a check that runs already.
        """
        if check_id in self._checks:
            raise FailedPrecondition(f"check {check_id} runs already")
        found: Found = asyncio.Queue()
        self._checks[check_id] = frozenset(asked), found
        order = CheckNetwork(id=check_id, network_id=network_id, nodes=nodes)
        try:
            for node_id in asked:
                if not self._sessions.send(node_id, ManagerMessage(check_network=order)):
                    found.put_nowait((node_id, NetworkFindings(id=check_id, error=NO_SESSION)))
            yield found
        finally:
            del self._checks[check_id]
            cancel = ManagerMessage(check_network=CheckNetwork(id=check_id, cancel=True))
            for node_id in asked:
                self._sessions.send(node_id, cancel)
