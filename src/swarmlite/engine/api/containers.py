"""The `Containers` service: this host's containers. Thin: what is done stands in the engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from swarmlite import rpc
from swarmlite.engine import filters, links, prune, top, waiting
from swarmlite.engine.api.files import FilesService
from swarmlite.engine.api.running import RunService
from swarmlite.engine.engine import Engine
from swarmlite.engine.io.service import StreamsService
from swarmlite.engine.records import Record
from swarmlite.errors import NotFound
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.containers_pb2_grpc import ContainersServicer
from swarmlite.proto.control_pb2 import Empty

Context = Any  # grpc.aio.ServicerContext, which has no types
T = TypeVar("T")
STATS_S = 1.0
YIELD_EVERY = 50


class ContainersService(  # type: ignore[misc]  # Run writes its replies by its context
    RunService, StreamsService, FilesService, ContainersServicer
):
    """See containers.proto; errors are swarmlite's, translated by the server's interceptor.

    What changes a container is done to its end, also when the client goes away meanwhile.
    """

    def __init__(self, engine: Engine) -> None:
        """`engine` has the containers."""
        RunService.__init__(self, engine)
        self._records, self._lifecycle = engine.records, engine.lifecycle
        StreamsService.__init__(self, engine.streams, self._find_record)
        FilesService.__init__(self, engine.files, engine.records, engine.told)

    async def _find_record(self, ref: str) -> Record:
        return self._records.find(ref)

    # changes
    async def Create(
        self, request: pb.CreateContainerRequest, context: Context
    ) -> pb.CreateContainerResponse:
        """A container that has not been started."""
        request.config.ClearField("task")  # only the agent's
        record, warnings = await to_the_end(self._lifecycle.create(request.config))
        return pb.CreateContainerResponse(id=record.id, warnings=warnings)

    async def Start(self, request: pb.ContainerRef, context: Context) -> Empty:
        """Run it."""
        record = self._records.find(request.ref)
        await to_the_end(self._lifecycle.start_by_user(record))
        return Empty()

    async def Stop(self, request: pb.StopContainerRequest, context: Context) -> Empty:
        """End it gracefully."""
        record = self._records.find(request.ref)
        record.ended_by_hand = "was stopped"
        await to_the_end(self._lifecycle.stop(record, **_stopping(request)))
        return Empty()

    async def Restart(self, request: pb.StopContainerRequest, context: Context) -> Empty:
        """Stop and start."""
        record = self._records.find(request.ref)
        await to_the_end(self._lifecycle.restart(record, **_stopping(request)))
        return Empty()

    async def Kill(self, request: pb.KillContainerRequest, context: Context) -> Empty:
        """A signal."""
        record = self._records.find(request.ref)
        if request.signal.upper().removeprefix("SIG") in ("", "KILL", "9"):
            record.ended_by_hand = "was killed"
        await self._lifecycle.kill(record, request.signal)
        return Empty()

    async def Pause(self, request: pb.ContainerRef, context: Context) -> Empty:
        """Freeze it."""
        await to_the_end(self._lifecycle.pause(self._records.find(request.ref)))
        return Empty()

    async def Unpause(self, request: pb.ContainerRef, context: Context) -> Empty:
        """Let it go on."""
        await to_the_end(self._lifecycle.unpause(self._records.find(request.ref)))
        return Empty()

    async def Remove(self, request: pb.RemoveContainerRequest, context: Context) -> Empty:
        """Take it away."""
        record = self._records.find(request.ref)
        if request.link:
            if not links.without(record, request.link):
                raise NotFound(f"container {record.name} has no link {request.link!r}")
            await self._records.save(record)
            return Empty()
        if request.force:
            record.ended_by_hand = "was removed"
        await to_the_end(
            self._lifecycle.remove(record, force=request.force, volumes=request.volumes)
        )
        return Empty()

    async def Rename(self, request: pb.RenameContainerRequest, context: Context) -> Empty:
        """Give it another name."""
        record = self._records.find(request.ref)
        await to_the_end(self._engine.connections.rename(record, request.name))
        return Empty()

    async def Prune(self, request: pb.PruneRequest, context: Context) -> pb.PruneResponse:
        """Remove what does not run."""
        return await to_the_end(prune.prune(self._engine, request.filters))

    async def Update(
        self, request: pb.UpdateContainerRequest, context: Context
    ) -> pb.UpdateContainerResponse:
        """Its limits and its restart policy."""
        record = self._records.find(request.ref)
        policy = request.restart if request.HasField("restart") else None
        warnings = await to_the_end(self._engine.updates.update(record, request.resources, policy))
        return pb.UpdateContainerResponse(warnings=warnings)

    # looking
    async def Top(self, request: pb.TopRequest, context: Context) -> pb.TopResponse:
        """Its processes."""
        record = self._records.find(request.ref)
        found = await asyncio.to_thread(top.top, record, list(request.ps_args))
        self._engine.told.tell(record, "top")
        return found

    async def Resize(self, request: pb.ResizeRequest, context: Context) -> Empty:
        """See io.service; it is an event too."""
        done = await super().Resize(request, context)
        size = {"height": str(request.height), "width": str(request.width)}
        self._engine.told.tell(self._records.find(request.ref), "resize", **size)
        return done

    async def Stats(
        self, request: pb.StatsRequest, context: Context
    ) -> AsyncIterator[pb.ContainerStats]:
        """What containers use, once or once a second."""
        for ref in request.refs:
            self._records.find(ref)
        while True:
            for record in self._measured(request):
                yield await self._engine.stats.read(record)
            if not request.stream:
                return
            await asyncio.sleep(STATS_S)

    def _measured(self, request: pb.StatsRequest) -> list[Record]:
        if not request.refs:
            return [r for r in self._records.newest_first() if request.all or r.active]
        found = []
        for ref in request.refs:
            with contextlib.suppress(NotFound):  # removed meanwhile
                found.append(self._records.find(ref))
        return found

    async def Wait(
        self, request: pb.WaitContainerRequest, context: Context
    ) -> pb.WaitContainerResponse:
        """Its exit code, once the condition holds."""
        record = self._records.find(request.ref)

        async def begun() -> None:
            await context.send_initial_metadata(rpc.BEGUN)

        return await waiting.wait(record, request.condition, begun)

    async def Inspect(self, request: pb.InspectContainerRequest, context: Context) -> pb.Container:
        """Everything about one."""
        record = self._records.find(request.ref)
        message = self._engine.inspection.details(record)
        if request.size:
            await self._engine.inspection.add_sizes(record, message)
        return message

    async def List(
        self, request: pb.ListContainersRequest, context: Context
    ) -> pb.ListContainersResponse:
        """Those that run, or all, the newest first."""
        passes = filters.matcher(request.filters, self._records)
        everything = request.all or request.limit or filters.names_a_state(request.filters)
        chosen = [
            record
            for record in self._records.newest_first()
            if (everything or record.active) and passes(record)
        ]
        if request.limit:
            chosen = chosen[: request.limit]
        messages = []
        for count, record in enumerate(chosen, 1):
            messages.append(self._engine.inspection.summary(record))
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)  # the loop has names to answer
        if request.size:
            for record, message in zip(chosen, messages, strict=True):
                await self._engine.inspection.add_sizes(record, message)
        return pb.ListContainersResponse(containers=messages)


def _stopping(request: pb.StopContainerRequest) -> dict[str, Any]:
    timeout_s = float(request.timeout_s) if request.HasField("timeout_s") else None
    return {"signal": request.signal, "timeout_s": timeout_s}


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """A client that goes away cancels its call, and not what it asked for."""
    return await asyncio.shield(asyncio.ensure_future(work))
