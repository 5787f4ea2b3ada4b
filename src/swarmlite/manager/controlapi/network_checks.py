"""CheckNetwork: all nodes of a network probe each other, each asked by the manager that has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence

import grpc.aio

from swarmlite import rpc
from swarmlite.errors import FailedPrecondition, InvalidSpec, PermissionDenied, SwarmliteError
from swarmlite.ids import new_id
from swarmlite.manager import auth
from swarmlite.manager.dispatcher import items
from swarmlite.manager.dispatcher.checking import NO_SESSION, Checks
from swarmlite.proto.control_pb2 import (
    CheckNetworkRequest,
    CheckNetworkResponse,
    NetworkFindings,
    NetworkPeer,
)
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.dispatcher_pb2 import Endpoint
from swarmlite.proto.objects_pb2 import Network, Node, Task

from .api import Api, resolve

BEGIN_S = 10.0
"""How long nodes may take to begin."""
SETTLE_S = 6.0
"""From when all have begun: what is not heard by then is not heard."""
MAX_NODES = 10_000
Findings = dict[str, NetworkFindings]


class NetworkChecks:
    """Networks probed between their nodes."""

    def __init__(
        self, api: Api, checks: Checks | None, channel: Callable[[str], grpc.aio.Channel] | None
    ) -> None:
        """`channel` opens one to another manager's address."""
        self._api, self._checks, self._channel = api, checks, channel

    async def check(self, request: CheckNetworkRequest) -> AsyncIterator[CheckNetworkResponse]:
        """See control.proto."""
        network = resolve("network", self._api.view.networks, request.ref)
        if self._checks is None:
            raise FailedPrecondition("this manager checks no networks")
        if request.id:
            if auth.is_user():  # whose addresses would be anybody's
                raise PermissionDenied("only managers forward a check to each other")
            async for answer in self._forwarded(self._checks, network, request):
                yield answer
            return
        driver = network.spec.driver.name or "overlay"
        if driver != "overlay":
            name = network.spec.annotations.name
            raise FailedPrecondition(
                f"network {name} is a {driver}: each host has its own, and nothing is between them"
            )
        nodes = self._nodes(network)
        found = await self._all(self._checks, network, nodes)
        for peer in nodes:
            node = self._api.view.nodes.get(peer.node_id)
            hostname = node.description.hostname if node else ""
            yield CheckNetworkResponse(node=peer, hostname=hostname, findings=found[peer.node_id])

    def _nodes(self, network: Network) -> list[NetworkPeer]:
        """Those that have a place on the network."""
        view, found = self._api.view, {}
        for node in view.nodes:
            tasks = view.tasks.of_node(node.id).values()
            if any(place.network_id == network.id for place in _places(node, tasks, network.id)):
                found[node.id] = node.description.data_path_addr
        if len(found) > MAX_NODES:
            raise InvalidSpec(f"{len(found)} nodes, {MAX_NODES} at most")
        return [NetworkPeer(node_id=node_id, addr=found[node_id]) for node_id in sorted(found)]

    async def _all(self, checks: Checks, network: Network, nodes: list[NetworkPeer]) -> Findings:
        """What each node has said at the end."""
        silent = "it does not answer"
        found = {peer.node_id: NetworkFindings(error=silent) for peer in nodes}
        if len(nodes) < 2:
            return {node_id: NetworkFindings() for node_id in found}
        latest: Findings = {}
        heard = Heard()
        news = asyncio.Event()

        def take(node_id: str, findings: NetworkFindings) -> None:
            latest[node_id] = findings
            heard.take(node_id, findings)
            news.set()

        tasks = [
            asyncio.create_task(part)
            for part in self._parts(checks, network, nodes, new_id(), take)
        ]
        try:
            await _until(lambda: len(latest) == len(nodes), news, BEGIN_S)
            await _until(lambda: heard.well and len(latest) == len(nodes), news, SETTLE_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return {**found, **latest}

    def _parts(
        self,
        checks: Checks,
        network: Network,
        nodes: list[NetworkPeer],
        check_id: str,
        take: Callable[[str, NetworkFindings], None],
    ) -> Iterable[Coroutine[None, None, None]]:
        """One for the nodes of ours, one for each other manager."""
        here: list[str] = []
        elsewhere: dict[str, list[str]] = {}
        for peer in nodes:
            node = self._api.view.nodes.get(peer.node_id)
            manager = self._api.view.nodes.get(node.status.manager_id) if node else None
            address = manager.manager_status.addr if manager else ""
            own = manager is not None and manager.id == self._api.node_id
            if checks.here(peer.node_id):
                here.append(peer.node_id)
            elif address and not own and self._channel is not None:
                elsewhere.setdefault(address, []).append(peer.node_id)
            else:
                take(peer.node_id, NetworkFindings(error=NO_SESSION))
        yield self._ask(checks, network, nodes, check_id, here, take)
        for address, node_ids in elsewhere.items():
            request = CheckNetworkRequest(ref=network.id, id=check_id, nodes=nodes, here=node_ids)
            yield self._forward(address, request, take)

    async def _ask(
        self,
        checks: Checks,
        network: Network,
        nodes: Sequence[NetworkPeer],
        check_id: str,
        asked: Sequence[str],
        take: Callable[[str, NetworkFindings], None],
    ) -> None:
        async with checks.asking(check_id, network.id, nodes, asked) as found:
            while True:
                take(*await found.get())

    async def _forward(
        self,
        address: str,
        request: CheckNetworkRequest,
        take: Callable[[str, NetworkFindings], None],
    ) -> None:
        assert self._channel is not None
        channel = self._channel(address)
        try:
            with rpc.translated(f"manager {address}"):
                async for answer in ControlStub(channel).CheckNetwork(request):
                    take(answer.node.node_id, answer.findings)
        except SwarmliteError as error:
            for node_id in request.here:
                take(node_id, NetworkFindings(error=str(error)))
        finally:
            await channel.close()

    async def _forwarded(
        self, checks: Checks, network: Network, request: CheckNetworkRequest
    ) -> AsyncIterator[CheckNetworkResponse]:
        """Another manager's check, for the nodes that have sessions here; until it cancels."""
        peers = {peer.node_id: peer for peer in request.nodes}
        asked = [node_id for node_id in request.here if node_id in peers]
        async with checks.asking(request.id, network.id, request.nodes, asked) as found:
            while True:
                node_id, findings = await found.get()
                yield CheckNetworkResponse(node=peers[node_id], findings=findings)


class Heard:
    """Whether each has heard each other one's largest packets; of those that can look."""

    def __init__(self) -> None:
        """Nobody has said anything."""
        self._said: dict[str, tuple[int, dict[str, int]]] = {}
        """Of each: its own largest packet, and what it heard of the others."""
        self._pairs = 0
        """Of them, those where the one has heard the other: counted as findings come."""

    def take(self, node_id: str, findings: NetworkFindings) -> None:
        """A node's last word."""
        self._pairs -= self._pairs_of(node_id)
        self._said.pop(node_id, None)
        if not findings.error:
            heard = {peer.node_id: peer.heard_bytes for peer in findings.peers}
            self._said[node_id] = findings.mtu, heard
        self._pairs += self._pairs_of(node_id)

    @property
    def well(self) -> bool:
        """Whether all have."""
        return self._pairs == len(self._said) * (len(self._said) - 1)

    def _pairs_of(self, node_id: str) -> int:
        if node_id not in self._said:
            return 0
        mtu, heard = self._said[node_id]
        return sum(
            (heard.get(other, 0) >= its_mtu) + (its.get(node_id, 0) >= mtu)
            for other, (its_mtu, its) in self._said.items()
            if other != node_id
        )


def _places(node: Node, tasks: Iterable[Task], network_id: str) -> Iterator[Endpoint]:
    """One after the other: who finds one that counts makes no more."""
    yield from items.node_endpoints(node)
    for task in tasks:
        if any(each.network_id == network_id for each in task.networks):
            yield from items.task_endpoints(task, node)


async def _until(holds: Callable[[], bool], news: asyncio.Event, limit_s: float) -> None:
    """Until it holds, or the time is over."""
    try:
        async with asyncio.timeout(limit_s):
            while not holds():
                await news.wait()
                news.clear()
    except TimeoutError:
        return
