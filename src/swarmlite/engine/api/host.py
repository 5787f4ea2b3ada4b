"""The `Host` service: this host as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swarmlite.engine.exits import SupervisorLink
from swarmlite.proto import host_pb2 as pb
from swarmlite.proto.control_pb2 import Empty
from swarmlite.proto.host_pb2_grpc import HostServicer
from swarmlite.storage.images.store import ImageStore

Context = Any  # grpc.aio.ServicerContext, which has no types


class HostService(HostServicer):
    """See host.proto; errors are swarmlite's, translated by the server's interceptor."""

    def __init__(
        self, store: ImageStore, supervisor: SupervisorLink, info: Callable[[], pb.HostInfo]
    ) -> None:
        """`info` is the node's part of `Info`; counts are added here."""
        self._store, self._supervisor, self._info = store, supervisor, info

    async def Info(self, request: Empty, context: Context) -> pb.HostInfo:
        """The node, and what it lacks."""
        info = self._info()
        states = await self._supervisor.client.list()
        info.containers_running = sum(state.status == "running" for state in states)
        info.images = len(self._store.list())
        return info
