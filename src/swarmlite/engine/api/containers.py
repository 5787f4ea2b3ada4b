"""The `Containers` service: this host's containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swarmlite.engine import containers
from swarmlite.engine.exits import SupervisorLink
from swarmlite.engine.io.service import Streams, StreamsService
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.containers_pb2_grpc import ContainersServicer

Context = Any  # grpc.aio.ServicerContext, which has no types


class ContainersService(StreamsService, ContainersServicer):
    """See containers.proto; errors are swarmlite's, translated by the server's interceptor."""

    def __init__(self, supervisor: SupervisorLink) -> None:
        """`supervisor` runs the containers."""
        self._supervisor = supervisor
        super().__init__(Streams(supervisor), self._find_folder)

    async def List(
        self, request: pb.ListContainersRequest, context: Context
    ) -> pb.ListContainersResponse:
        """Those that run, or all."""
        found = [
            containers.local_container(state)
            for state in await self._supervisor.client.list()
            if request.all or state.status == "running"
        ]
        return pb.ListContainersResponse(
            containers=[entry for entry in found if containers.matches(entry, request.filters)]
        )

    async def _find_folder(self, ref: str) -> tuple[pb.Container, Path]:
        state = containers.find(await self._supervisor.client.list(), ref)
        return containers.local_container(state), state.bundle
