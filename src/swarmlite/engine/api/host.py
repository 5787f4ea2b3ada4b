"""The `Host` service: this host as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from swarmlite.engine.engine import Engine
from swarmlite.proto import host_pb2 as pb
from swarmlite.proto.containers_pb2 import ContainerState
from swarmlite.proto.control_pb2 import Empty
from swarmlite.proto.host_pb2_grpc import HostServicer

Context = Any  # grpc.aio.ServicerContext, which has no types
LOG_DRIVERS = ("json-file", "local", "none")
NETWORK_DRIVERS = ("bridge", "host", "ipvlan", "macvlan", "null", "overlay")


class HostService(HostServicer):
    """See host.proto; errors are swarmlite's, translated by the server's interceptor."""

    def __init__(self, engine: Engine, info: Callable[[], pb.HostInfo]) -> None:
        """`info` is the node's part of `Info`; counts are added here."""
        self._engine, self._info = engine, info

    async def Info(self, request: Empty, context: Context) -> pb.HostInfo:
        """The node, and what it lacks."""
        info = self._info()
        for record in self._engine.records:
            if record.state.status == ContainerState.PAUSED:
                info.containers_paused += 1
            elif record.active:
                info.containers_running += 1
            else:
                info.containers_stopped += 1
        info.images = len(self._engine.storage.images.list())
        info.storage_driver = self._engine.storage.snapshots.driver
        info.log_drivers.extend(LOG_DRIVERS)
        info.network_drivers.extend(NETWORK_DRIVERS)
        return info

    async def Events(
        self, request: pb.EventsRequest, context: Context
    ) -> AsyncIterator[pb.HostEvent]:
        """What happens, and what is remembered."""
        with self._engine.events.listen(
            since=request.since if request.HasField("since") else None,
            until=request.until if request.HasField("until") else None,
            filters=request.filters,
        ) as events:
            await context.send_initial_metadata(())
            async for event in events:
                yield event
