"""Tunnels to tasks and nodes: whoever asks a manager is joined to the node, or to the task's one.

A node is asked by its session and answers with a call of its own, so that nothing need be reachable
on workers. Where another manager holds the session, that one is asked, and asks no further.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import grpc
import grpc.aio

from swarmlite import rpc
from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from swarmlite.ids import new_id
from swarmlite.manager import auth
from swarmlite.manager.controlapi.api import resolve, resolve_task
from swarmlite.manager.dispatcher.sessions import Sessions
from swarmlite.manager.lookagain import found
from swarmlite.manager.store.api import Store
from swarmlite.model import task_states
from swarmlite.proto.control_pb2 import TunnelData, TunnelTo
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.dispatcher_pb2 import ManagerMessage, OpenTunnel
from swarmlite.proto.objects_pb2 import Task

MAX_TUNNELS = 1000
ANSWER_S = 20.0
"""How long a node may take to answer; a busy one takes seconds."""
FIRST_S = 10.0


class Stream(Protocol):
    """One end: a server's context, or a call."""

    async def read(self) -> Any:
        """The next TunnelData, or grpc.aio.EOF."""

    async def write(self, message: TunnelData) -> Any:
        """Send one, once there is room for it."""


class _Awaited:
    """A tunnel that a node was asked for."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.end: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()


class Tunnels:
    """This manager's. Ends of both kinds are calls that last as long as the tunnel."""

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        node_id: str,
        channel: Callable[[str], grpc.aio.Channel] | None,
    ) -> None:
        """`channel` opens one to another manager's address."""
        self._store, self._sessions, self._node_id = store, sessions, node_id
        self._channel = channel
        self._awaited: dict[str, _Awaited] = {}
        self._open = 0
        """Of clients, whichever manager holds the node's session."""

    async def serve(self, client: Stream) -> None:
        """A client's end, until the tunnel is over. Raises swarmlite's errors before it stands."""
        first = await _first(client)
        if not first.HasField("to"):
            raise InvalidSpec("the first message says where the tunnel goes to")
        if auth.reads_only() and not _looks(first.to):
            raise PermissionDenied(
                "a reader sees a task's logs, processes and usage: the rest takes an operator"
            )
        node_id, to = await found(self._store.look_up, lambda: self._way(first.to))
        if self._open >= MAX_TUNNELS:
            raise ResourceExhausted(f"{MAX_TUNNELS} tunnels are open at this manager; close some")
        self._open += 1
        try:
            if to.forwarded or self._sessions.get(node_id) is not None:
                await self._here(client, node_id, to)
            else:
                await self._there(client, node_id, to)
        finally:
            self._open -= 1

    async def accept(self, node_id: str, node: Stream) -> None:
        """A node's end, until the tunnel is over. Raises NotFound for what nobody waits for."""
        first = await _first(node)
        awaited = self._awaited.get(first.id)
        if awaited is None or awaited.end.done():
            raise NotFound("nobody waits for this tunnel")
        if awaited.node_id != node_id:
            raise PermissionDenied("this tunnel was asked of another node")
        if first.error:
            awaited.end.set_exception(Unavailable(first.error[:500]))
            return
        awaited.end.set_result(node)
        await awaited.over.wait()

    def _way(self, asked: TunnelTo) -> tuple[str, TunnelTo]:
        """The node that is to be asked, and what of it, by ids."""
        to = TunnelTo()
        to.CopyFrom(asked)
        if to.node:
            node_id = to.node = resolve("node", self._store.view.nodes, to.node).id
            to.task = ""  # nothing of a task's: readers are let through
            to.ClearField("place")
        else:
            task = self._task(to.task)
            node_id, to.task = task.node_id, task.id
        return node_id, to

    def _task(self, ref: str) -> Task:
        task = resolve_task(self._store.view.tasks, ref)
        if not task.node_id:
            raise FailedPrecondition(f"task {ref} has not been placed on a node yet")
        if task.status.state > task_states.RUNNING:
            state = task_states.name(task.status.state)
            raise FailedPrecondition(f"task {ref} has ended ({state}): name one that runs")
        return task

    async def _here(self, client: Stream, node_id: str, to: TunnelTo) -> None:
        opening, awaited = new_id(), _Awaited(node_id)
        self._awaited[opening] = awaited
        try:
            order = ManagerMessage(open_tunnel=OpenTunnel(id=opening, to=to))
            if not self._sessions.send(node_id, order):
                raise Unavailable(f"{_named(to)} has no session now; try again")
            try:
                async with asyncio.timeout(ANSWER_S):
                    node = await awaited.end
            except TimeoutError as error:
                raise Unavailable(f"{_named(to)} did not answer within {ANSWER_S:g} s") from error
            await client.write(TunnelData())
            await relay(client, node)
        finally:
            awaited.over.set()
            if awaited.end.done() and not awaited.end.cancelled():
                awaited.end.exception()  # it was seen, or nobody is left to see it
            del self._awaited[opening]

    async def _there(self, client: Stream, node_id: str, to: TunnelTo) -> None:
        node = self._store.view.nodes.get(node_id)
        holder = self._store.view.nodes.get(node.status.manager_id) if node else None
        if (
            holder is None
            or holder.id == self._node_id
            or not holder.manager_status.addr
            or self._channel is None
        ):
            name = node.description.hostname if node else node_id
            of = f" of task {to.task}" if to.task else ""
            raise Unavailable(f"node {name}{of} is not connected to any manager")
        to.forwarded = True
        channel = self._channel(holder.manager_status.addr)
        try:
            with rpc.translated(f"manager {holder.description.hostname}"):
                call: Any = ControlStub(channel).TaskTunnel()
                await call.write(TunnelData(to=to))
                if await call.read() is grpc.aio.EOF:
                    raise Unavailable(await call.details() or "the other manager ended the tunnel")
            await client.write(TunnelData())
            await relay(client, call)
        finally:
            await channel.close()


def _named(to: TunnelTo) -> str:
    return f"the node of task {to.task}" if to.task else f"node {to.node}"


def _looks(to: TunnelTo) -> bool:
    return bool(to.node) or (to.WhichOneof("place") == "access" and to.access == TunnelTo.READ)


async def relay(one: Stream, other: Stream) -> None:
    """Bytes both ways until both sides have said their end, or either is gone."""
    ways = [
        asyncio.ensure_future(_passed(one, other)),
        asyncio.ensure_future(_passed(other, one)),
    ]
    try:
        done, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if left and all(way.result() for way in done):
            await asyncio.wait(left)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _passed(source: Stream, target: Stream) -> bool:
    """Whether the source said its end, and is not just gone."""
    with contextlib.suppress(grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError):
        while (message := await source.read()) is not grpc.aio.EOF:
            await target.write(TunnelData(data=message.data, end=message.end))
            if message.end:
                return True
    return False


async def _first(stream: Stream) -> TunnelData:
    try:
        async with asyncio.timeout(FIRST_S):
            message: TunnelData | Any = await stream.read()
    except TimeoutError as error:
        raise Unavailable("the first message of the tunnel did not come") from error
    if message is grpc.aio.EOF:
        raise InvalidSpec("the tunnel ended before its first message")
    return message
