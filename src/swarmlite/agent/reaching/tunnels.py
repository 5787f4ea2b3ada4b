"""Tunnels that managers ask for: each is answered by a call to the manager that asked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from swarmlite.agent.reaching import serving
from swarmlite.engine import reaching
from swarmlite.engine.engine import Engine
from swarmlite.errors import InvalidSpec, SwarmliteError, Unavailable
from swarmlite.proto.control_pb2 import TunnelData, TunnelTo
from swarmlite.proto.dispatcher_pb2 import OpenTunnel
from swarmlite.proto.dispatcher_pb2_grpc import DispatcherStub

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
MAX_TUNNELS = 500
MAX_PORT = 65535


class Tunnels:
    """Those of this node, for as long as it is in its swarm."""

    def __init__(
        self,
        engine: Engine,
        run_dir: Path,
        connected_to: Callable[[], str],
        channel: Callable[[str], grpc.aio.Channel],
    ) -> None:
        """`connected_to` is the manager's address, empty without one."""
        self._records = serving.TaskRecords(engine.records)
        self._engine, self._connected_to, self._channel = engine, connected_to, channel
        self._sockets: dict[TunnelTo.Access.ValueType, Path] = {
            TunnelTo.READ: run_dir / "tasks-read.sock",
            TunnelTo.WRITE: run_dir / "tasks.sock",
        }
        self._held = run_dir / "held.sock"
        self._open: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer until leaving; what is open then ends."""
        try:
            async with serving.serving(self._engine, self._sockets, self._held):
                yield
        finally:
            for tunnel in self._open:
                tunnel.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    def asked(self, order: OpenTunnel) -> None:
        """A manager wants a tunnel; returns at once."""
        tunnel = asyncio.create_task(self._serve(order, self._connected_to()))
        self._open.add(tunnel)
        tunnel.add_done_callback(self._open.discard)

    async def _serve(self, order: OpenTunnel, address: str) -> None:
        channel = self._channel(address)
        try:
            call: Any = DispatcherStub(channel).Tunnel()
            try:
                end = await self._connect(order.to)
            except (SwarmliteError, OSError) as error:
                await call.write(TunnelData(id=order.id, error=" ".join(str(error).split())))
                await call.read()  # until it was heard
                return
            with contextlib.closing(end):
                await call.write(TunnelData(id=order.id))
                await _carry(call, end)
        except (grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError) as error:
            log.info("a tunnel ended task=%s error=%s", order.to.task or "none", error)
        finally:
            await channel.close()

    async def _connect(self, to: TunnelTo) -> socket.socket:
        """What the tunnel leads to, connected and not blocking."""
        if len(self._open) > MAX_TUNNELS:
            raise Unavailable(f"{MAX_TUNNELS} tunnels are open to this node; close some")
        if to.node:
            return await _joined(self._held)
        record = self._records.find(to.task)
        if to.WhichOneof("place") == "port":
            if not 0 < to.port <= MAX_PORT:
                raise InvalidSpec(f"port {to.port}: expected 1 to {MAX_PORT}")
            return await reaching.connect(record, to.port)
        return await _joined(self._sockets[to.access])


async def _joined(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, str(path))
    except BaseException:
        made.close()
        raise
    return made


async def _carry(call: Any, end: socket.socket) -> None:
    """Bytes both ways until both sides have said their end, or either is gone."""
    ways = [asyncio.ensure_future(_up(call, end)), asyncio.ensure_future(_down(call, end))]
    try:
        done, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if left and all(way.result() for way in done):
            await asyncio.wait(left)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _up(call: Any, end: socket.socket) -> bool:
    """Whether the task's side said its end."""
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(end, CHUNK_BYTES):
            await call.write(TunnelData(data=data))
        await call.write(TunnelData(end=True))
    except OSError:
        return False
    return True


async def _down(call: Any, end: socket.socket) -> bool:
    """Whether the client's side said its end."""
    loop = asyncio.get_running_loop()
    try:
        while (message := await call.read()) is not grpc.aio.EOF:
            if message.data:
                await loop.sock_sendall(end, message.data)
            if message.end:
                end.shutdown(socket.SHUT_WR)
                return True
    except OSError:
        return False
    return False
