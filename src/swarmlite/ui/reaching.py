"""The engine of a node, by a manager's tunnel: the same calls as `swarmlite exec` makes."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from swarmlite import rpc
from swarmlite.errors import Unavailable
from swarmlite.proto.containers_pb2_grpc import ContainersStub
from swarmlite.proto.control_pb2 import ListRequest, TunnelData, TunnelTo
from swarmlite.proto.images_pb2 import LocalImage
from swarmlite.proto.images_pb2_grpc import ImagesStub
from swarmlite.proto.volumes_pb2 import LocalVolume
from swarmlite.proto.volumes_pb2_grpc import VolumesStub
from swarmlite.ui.cluster import Cluster
from swarmlite.ui.signing import Session

CHUNK_BYTES = 64 * 1024
CONNECT_S = 10.0


class Reach:
    """Tunnels, each for one visit."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        """`folder` is root's only: a tunnel ends at a socket there while it is being connected."""
        self._cluster, self._folder = cluster, folder

    @asynccontextmanager
    async def containers(
        self, session: Session, task_id: str, access: TunnelTo.Access.ValueType
    ) -> AsyncIterator[ContainersStub]:
        """Calls on the task's container, which is called as the task. Raises swarmlite's errors."""
        async with self._channel(session, TunnelTo(task=task_id, access=access)) as channel:
            yield ContainersStub(channel)

    async def held(
        self, session: Session, node_id: str
    ) -> tuple[Sequence[LocalImage], Sequence[LocalVolume]]:
        """All images and volumes of a node. Raises swarmlite's errors."""
        async with self._channel(session, TunnelTo(node=node_id)) as channel:
            with rpc.translated("the node"):
                images: Any = ImagesStub(channel).List(ListRequest())
                volumes: Any = VolumesStub(channel).List(ListRequest())
                return (await images).images, (await volumes).volumes

    @asynccontextmanager
    async def _channel(self, session: Session, to: TunnelTo) -> AsyncIterator[grpc.aio.Channel]:
        call = self._cluster.tunnel(session)
        path = self._folder / f"{secrets.token_hex(4)}.sock"
        carrying: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            path.unlink(missing_ok=True)  # one connection is all there is
            task = asyncio.current_task()
            assert task is not None
            carrying.add(task)
            await _carry(call, reader, writer)

        try:
            await _begin(call, to)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            server = await asyncio.start_unix_server(connected, path)
            channel = rpc.unix_channel(path)
            try:
                yield channel
            finally:
                await channel.close()
                server.close()
                path.unlink(missing_ok=True)
        finally:
            for task in carrying:
                task.cancel()
            await asyncio.gather(*carrying, return_exceptions=True)
            call.cancel()


async def _begin(call: Any, to: TunnelTo) -> None:
    """Returns once the tunnel stands."""
    try:
        async with asyncio.timeout(CONNECT_S):
            with rpc.translated("the manager"):
                await call.write(TunnelData(to=to))
                if await call.read() is grpc.aio.EOF:
                    raise Unavailable("the tunnel ended at once; try again")
    except TimeoutError as error:
        raise Unavailable(f"the node does not answer within {CONNECT_S:g} s") from error


async def _carry(call: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Both ways until either is over."""
    ways = [asyncio.ensure_future(_up(call, reader)), asyncio.ensure_future(_down(call, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        writer.close()


async def _up(call: Any, reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError, OSError):
        while data := await reader.read(CHUNK_BYTES):
            await call.write(TunnelData(data=data))
        await call.write(TunnelData(end=True))


async def _down(call: Any, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(grpc.aio.BaseError, grpc.RpcError, asyncio.InvalidStateError, OSError):
        while (message := await call.read()) is not grpc.aio.EOF:
            writer.write(message.data)
            await writer.drain()
            if message.end:
                return
