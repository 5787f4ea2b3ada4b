"""`Checks`: a node's side of the checks of its networks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.model.encryption import is_encrypted
from swarmlite.network.checking.check import Order, check
from swarmlite.network.claims import Claims
from swarmlite.network.drivers.overlays import Overlays
from swarmlite.network.encryption.plan import inner_address
from swarmlite.network.netns import Threads
from swarmlite.network.view import View
from swarmlite.proto.control_pb2 import NetworkFindings, NetworkPeer


class Checks:
    """Any number of them side by side; one event loop's."""

    def __init__(
        self, threads: Threads, view: View, overlays: Overlays, claims: Claims, *, vxlan_port: int
    ) -> None:
        self._threads, self._view, self._overlays = threads, view, overlays
        self._claims, self._vxlan_port = claims, vxlan_port
        self._tasks: set[asyncio.Task[Any]] = set()
        """In which somebody checks a network: `close` ends them."""

    async def check(
        self, check_id: str, network_id: str, nodes: Sequence[NetworkPeer]
    ) -> AsyncGenerator[NetworkFindings, None]:
        """Probe a network's tunnels between this node and others; see `checking.check`.

        What of the network is not as it should be here is repaired first, and told. Of an encrypted
        one, nodes without an IPv4 address are left out: each of them says so itself. Raises
        FailedPrecondition for a network that this node has no part in, InvalidSpec for a data path
        that is not an IP address, or this node's that encryption cannot use, OSError.
        """
        own = next((node.addr for node in nodes if node.node_id == self._view.node_id), "")
        if not own:
            raise FailedPrecondition("this node takes no part in the network")
        if is_encrypted(self._view.networks.get(network_id)):
            if not _inner(own):
                said = f"its data path {own!r} is not an IPv4 address, as encryption needs"
                raise InvalidSpec(said)
            inside = ((node.node_id, _inner(node.addr)) for node in nodes)
            nodes = [NetworkPeer(node_id=node_id, addr=addr) for node_id, addr in inside if addr]
        overlay = await self._overlays.get(network_id)
        repairs = await self._threads.run(lambda: overlay.reconcile(self._claims))
        order = Order(check_id, self._view.node_id, nodes, self._vxlan_port)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with contextlib.aclosing(check(self._threads, overlay, order, repairs)) as found:
                async for findings in found:
                    yield findings
        finally:
            self._tasks.discard(task)

    async def close(self) -> None:
        """End all, but one that the caller itself follows."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _inner(data_path_addr: str) -> str:
    """A node's address inside of the encrypting device; empty where it can have none."""
    try:
        return inner_address(data_path_addr)
    except ValueError:
        return ""
