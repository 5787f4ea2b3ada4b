"""CarryImage: nodes are asked to bring an image to themselves, each by the manager that has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import grpc.aio

from swarmlite import rpc
from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError, Unavailable
from swarmlite.model.references import Reference, is_digest
from swarmlite.proto.control_pb2 import CarryImageRequest, CarryImageResponse
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.dispatcher_pb2 import FetchReport
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import NodeStatus

from .api import Api, resolve_node

MAX_NODES = 10_000
MAX_QUEUED = 1000
Queue = asyncio.Queue[CarryImageResponse | None]


class Order(Protocol):
    """What a node reports of an image that it was asked to keep."""

    reports: asyncio.Queue[FetchReport]


class Carrier(Protocol):
    """Who asks the nodes of this manager's sessions."""

    def here(self, node_id: str) -> bool:
        """Whether it has a session with this manager."""

    def order(
        self, node_id: str, ref: str, digest: str, *, tell: bool = False
    ) -> AbstractAsyncContextManager[Order]:
        """Ask one. Raises Unavailable for a node without a session here."""


class Images:
    """Images on nodes."""

    def __init__(
        self, api: Api, carrier: Carrier | None, channel: Callable[[str], grpc.aio.Channel] | None
    ) -> None:
        """`channel` opens one to another manager's address."""
        self._api, self._carrier, self._channel = api, carrier, channel

    async def carry(self, request: CarryImageRequest) -> AsyncIterator[CarryImageResponse]:
        """See control.proto."""
        reference = Reference.parse(request.ref)
        if request.tell:
            if reference.digest or len(request.nodes) != 1:
                raise InvalidSpec(f"cannot tell of {request.ref!r}: expected NAME:TAG and one node")
        elif reference.digest or not is_digest(request.digest):
            raise InvalidSpec(f"cannot carry {request.ref!r}: expected NAME:TAG and its digest")
        if self._carrier is None:
            raise FailedPrecondition("this manager carries no images")
        answers: Queue = asyncio.Queue(MAX_QUEUED)
        work = [self._guarded(part, answers) for part in self._parts(request, answers)]
        tasks = [asyncio.create_task(one) for one in work]
        ended = asyncio.create_task(_end(tasks, answers))
        try:
            while (answer := await answers.get()) is not None:
                yield answer
        finally:
            for task in (*tasks, ended):
                task.cancel()
            await asyncio.gather(*tasks, ended, return_exceptions=True)

    def _parts(self, request: CarryImageRequest, answers: Queue) -> list[_Part]:
        """One a node of ours, one for each other manager."""
        assert self._carrier is not None
        parts: list[_Part] = []
        elsewhere: dict[str, list[Node]] = {}
        for node in self._nodes(request.nodes):
            manager, here = node.status.manager_id, self._carrier.here(node.id)
            if here or request.forwarded:
                parts.append(_Part([node], self._order(node, request, answers)))
            elif node.status.state != NodeStatus.READY:
                parts.append(_Part([node], self._refuse(node)))
            else:
                elsewhere.setdefault(manager, []).append(node)
        for manager, nodes in elsewhere.items():
            parts.append(_Part(nodes, self._forward(manager, nodes, request, answers)))
        return parts

    def _nodes(self, refs: Sequence[str]) -> Iterable[Node]:
        if len(refs) > MAX_NODES:
            raise InvalidSpec(f"{len(refs)} nodes, {MAX_NODES} at most")
        if refs:
            return {
                node.id: node for node in (resolve_node(self._api, ref) for ref in refs)
            }.values()
        ready = [node for node in self._api.view.nodes if node.status.state == NodeStatus.READY]
        return sorted(ready, key=lambda node: node.description.hostname)

    async def _guarded(self, part: _Part, answers: Queue) -> None:
        try:
            await part.work
        except SwarmliteError as error:
            for node in part.nodes:
                await answers.put(_answer(node, done=True, error=str(error)))

    async def _refuse(self, node: Node) -> None:
        raise Unavailable(f"the node is {NodeStatus.State.Name(node.status.state).lower()}")

    async def _order(self, node: Node, request: CarryImageRequest, answers: Queue) -> None:
        assert self._carrier is not None
        asked = self._carrier.order(node.id, request.ref, request.digest, tell=request.tell)
        async with asked as order:
            while True:
                report = await order.reports.get()
                await answers.put(
                    _answer(
                        node,
                        layer=report.layer,
                        status=report.status,
                        current_bytes=report.current_bytes,
                        total_bytes=report.total_bytes,
                        done=report.done or bool(report.error),
                        error=report.error,
                        digest=report.digest,
                    )
                )
                if report.done or report.error:
                    return

    async def _forward(
        self, manager: str, nodes: Sequence[Node], request: CarryImageRequest, answers: Queue
    ) -> None:
        found = self._api.view.nodes.get(manager)
        if found is None or not found.manager_status.addr or self._channel is None:
            raise Unavailable("the manager that has its session is not known; try again")
        address, open_nodes = found.manager_status.addr, {node.id: node for node in nodes}
        channel = self._channel(address)
        forwarded = CarryImageRequest(
            ref=request.ref,
            digest=request.digest,
            nodes=list(open_nodes),
            forwarded=True,
            tell=request.tell,
        )
        try:
            with rpc.translated(f"manager {address}"):
                async for answer in ControlStub(channel).CarryImage(forwarded):
                    if answer.done:
                        open_nodes.pop(answer.node_id, None)
                    await answers.put(answer)
        except SwarmliteError as error:
            for node in open_nodes.values():
                await answers.put(_answer(node, done=True, error=str(error)))
        finally:
            await channel.close()


class _Part:
    def __init__(self, nodes: list[Node], work: Any) -> None:
        self.nodes, self.work = nodes, work


async def _end(tasks: Sequence[asyncio.Task[None]], answers: Queue) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
    await answers.put(None)


def _answer(node: Node, **fields: Any) -> CarryImageResponse:
    return CarryImageResponse(node_id=node.id, hostname=node.description.hostname, **fields)
