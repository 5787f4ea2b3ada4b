"""The `Containers` service: this host's containers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from swarmlite.engine import containers
from swarmlite.engine.exits import SupervisorLink
from swarmlite.engine.io.exec import execute, process_of
from swarmlite.errors import InvalidSpec
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.containers_pb2_grpc import ContainersServicer

Context = Any  # grpc.aio.ServicerContext, which has no types


class ContainersService(ContainersServicer):
    """See containers.proto; errors are swarmlite's, translated by the server's interceptor."""

    def __init__(self, supervisor: SupervisorLink) -> None:
        """`supervisor` runs the containers."""
        self._supervisor = supervisor

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

    async def Exec(
        self, request: AsyncIterator[pb.ExecInput], context: Context
    ) -> AsyncIterator[pb.StreamOutput]:
        """A command in a running container."""
        first = await anext(request, None)
        if first is None or not first.HasField("config"):
            raise InvalidSpec("the first message names the container and the command")
        client = self._supervisor.client
        state = containers.find(await client.list(), first.config.container)
        process = process_of(state, first.config)
        async with contextlib.aclosing(execute(client, state.id, process, request)) as outputs:
            async for output in outputs:
                yield output
