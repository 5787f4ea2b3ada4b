"""The service `Builds` on the host's own unix socket: see build.proto."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from swarmlite import rpc
from swarmlite.build.builder import Builder
from swarmlite.build.progress import Report
from swarmlite.build.upkeep import Kept
from swarmlite.engine.events import moment
from swarmlite.errors import SwarmliteError
from swarmlite.proto import build_pb2 as pb
from swarmlite.proto.build_pb2_grpc import BuildsServicer, add_BuildsServicer_to_server
from swarmlite.proto.containers_pb2 import PruneResponse
from swarmlite.proto.control_pb2 import ListRequest

Context = Any  # grpc.aio.ServicerContext, which has no types


class BuildsService(BuildsServicer):
    """See build.proto."""

    def __init__(self, builder: Builder) -> None:
        """`builder` makes them."""
        self._builder = builder

    async def Build(
        self, request: AsyncIterator[pb.BuildRequest], context: Context
    ) -> AsyncIterator[pb.BuildEvent]:
        """Events, the result last. A client that goes away ends the build."""
        report = Report()
        task = asyncio.create_task(self._builder.build(request, report))
        task.add_done_callback(lambda _: report.close())
        try:
            while (event := await report.next()) is not None:
                yield event
            try:
                result = task.result()
            except SwarmliteError as error:
                yield pb.BuildEvent(failure=_failure(error))
                raise
            if result is not None:
                yield pb.BuildEvent(result=result)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((task,))

    async def ListCache(self, request: ListRequest, context: Context) -> pb.ListBuildCacheResponse:
        """What the cache keeps."""
        kept = await self._builder.upkeep.all(request.filters)
        return pb.ListBuildCacheResponse(entries=[_entry(one) for one in kept])

    async def PruneCache(
        self, request: pb.PruneBuildCacheRequest, context: Context
    ) -> PruneResponse:
        """Take it away."""
        gone, freed = await self._builder.upkeep.prune(
            request.filters, everything=request.all, keep_bytes=request.keep_bytes
        )
        return PruneResponse(deleted=gone, reclaimed_bytes=freed)


def _failure(error: SwarmliteError) -> pb.BuildFailure:
    return pb.BuildFailure(code=rpc.code_of(error).value[0], text=str(error))


def _entry(kept: Kept) -> pb.BuildCacheEntry:
    return pb.BuildCacheEntry(
        id=kept.id,
        parent=kept.parent,
        type=kept.kind,
        description=kept.text,
        in_use=kept.in_use,
        shared=kept.shared,
        size_bytes=kept.size,
        created=moment(int(kept.created * 1e9)),
        last_used=moment(int(kept.used * 1e9)),
        usage_count=kept.count,
    )


def add_service(server: grpc.aio.Server, builder: Builder) -> None:
    """Let `server` answer for the builds."""
    add_BuildsServicer_to_server(BuildsService(builder), server)
