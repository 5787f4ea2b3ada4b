"""Checks of networks that managers ask this node to take part in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from swarmlite.agent.orders import Orders
from swarmlite.errors import SwarmliteError
from swarmlite.network.checking.checks import Checks
from swarmlite.proto.control_pb2 import NetworkFindings
from swarmlite.proto.dispatcher_pb2 import AgentMessage, CheckNetwork

log = logging.getLogger(__name__)

MAX_CHECKS = 8


class NetworkChecks:
    """Carries out CheckNetwork; one event loop's. Nothing of a check outlives its session."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._orders = Orders(MAX_CHECKS)
        self._latest: dict[str, NetworkFindings] = {}
        self._news = asyncio.Event()

    def asked(self, order: CheckNetwork) -> None:
        """Begin, or give up what nobody waits for."""
        if order.cancel:
            self._orders.cancel(order.id)
        elif not self._orders.begin(order.id, lambda: self._check(order)):
            said = f"the node takes part in {MAX_CHECKS} checks already"
            self._say(NetworkFindings(id=order.id, error=said))

    def lost(self) -> None:
        """The session ended, and nobody waits any more."""
        self._orders.cancel_all()
        self._latest.clear()

    async def messages(self) -> AsyncIterator[AgentMessage]:
        """The last word of each check, whenever it changes."""
        while True:
            await self._news.wait()
            self._news.clear()
            latest, self._latest = self._latest, {}
            for findings in latest.values():
                yield AgentMessage(network_findings=findings)

    async def _check(self, order: CheckNetwork) -> None:
        try:
            checking = self._checks.check(order.id, order.network_id, order.nodes)
            async with contextlib.aclosing(checking) as found:
                async for findings in found:
                    self._say(findings)
        except (SwarmliteError, OSError) as error:
            self._say(NetworkFindings(id=order.id, error=str(error)))
        except Exception as error:
            log.exception("a network could not be checked network=%s", order.network_id)
            self._say(NetworkFindings(id=order.id, error=f"internal error: {error}"))

    def _say(self, findings: NetworkFindings) -> None:
        self._latest[findings.id] = findings
        self._news.set()
