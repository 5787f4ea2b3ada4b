"""The streams' part of the `Containers` service: attach, exec, logs, resize."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from swarmlite import rpc
from swarmlite.engine import bundles
from swarmlite.engine.exits import SupervisorLink
from swarmlite.engine.io import console, logs
from swarmlite.engine.io.attach import Attachments
from swarmlite.engine.io.exec import Execs
from swarmlite.engine.io.exec_events import Tell
from swarmlite.engine.records import Record
from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.control_pb2 import Empty, LogsResponse

Context = Any  # grpc.aio.ServicerContext, which has no types

Find = Callable[[str], Awaitable[Record]]
"""A container, by a user's reference; raises NotFound, InvalidSpec."""


class Streams:
    """What is open between clients and containers: one an engine."""

    def __init__(self, supervisor: SupervisorLink, tell: Tell) -> None:
        """`supervisor` runs the containers; `tell` tells what is done with them."""
        self.supervisor, self.tell = supervisor, tell
        self.attachments = Attachments(lambda: supervisor.client)
        self.execs = Execs(lambda: supervisor.client, tell)

    async def connect(self, container_id: str) -> None:
        """Call once its process is made: see attach.py."""
        await self.attachments.connect(container_id)

    def removed(self, container_id: str) -> None:
        """The container is gone for ever."""
        self.attachments.removed(container_id)
        self.execs.forget(container_id)


class StreamsService:
    """See containers.proto; to be mixed into its servicer."""

    def __init__(self, streams: Streams, find: Find) -> None:
        """`find` looks containers up."""
        self._streams, self._find = streams, find

    async def Attach(
        self, request: AsyncIterator[pb.AttachInput], context: Context
    ) -> AsyncIterator[pb.StreamOutput]:
        """Output from now on, or from its start."""
        first = await anext(request, None)
        if first is None or not first.HasField("start"):
            raise InvalidSpec("the first message says what to attach to")
        start = first.start
        record = await self._find(start.ref)
        container, folder = record.message, record.folder

        async def attached() -> None:
            self._streams.tell(container.id, "attach")
            await context.send_initial_metadata(rpc.BEGUN)

        def before(time_ns: int) -> AsyncIterator[pb.StreamOutput]:
            return logs.before(folder, time_ns, stdout=start.stdout, stderr=start.stderr)

        messages = self._streams.attachments.attach(container, start, request, attached, before)
        async with contextlib.aclosing(messages):
            async for message in messages:
                yield message

    async def Resize(self, request: pb.ResizeRequest, context: Context) -> Empty:
        """The container's terminal."""
        console.check_size(request.height, request.width)
        record = await self._find(request.ref)
        container = record.message
        if not record.active:
            raise FailedPrecondition(f"Container {container.id} is not running")
        if not container.config.spec.tty:
            return Empty()  # as with Docker: there is nothing whose size could change
        client = self._streams.supervisor.client
        await client.resize(container.id, request.width, request.height)
        return Empty()

    async def CreateExec(self, request: pb.ExecConfig, context: Context) -> pb.ExecRef:
        """Nothing runs yet."""
        record = await self._find(request.container)
        return pb.ExecRef(
            id=self._streams.execs.create(record.message, bundles.of(record), request)
        )

    async def Exec(
        self, request: AsyncIterator[pb.ExecInput], context: Context
    ) -> AsyncIterator[pb.StreamOutput]:
        """A command in a running container."""
        first = await anext(request, None)
        execs = self._streams.execs
        if first is not None and first.HasField("config"):
            record = await self._find(first.config.container)
            container = record.message
            exec_id = execs.create(container, bundles.of(record), first.config)
        elif first is not None and first.exec_id:
            exec_id = first.exec_id
            container = (await self._find(execs.container_of(exec_id))).message
        else:
            raise InvalidSpec("the first message names an exec, or a container and the command")
        await context.send_initial_metadata(rpc.BEGUN)
        messages = execs.start(exec_id, container, request, first.detach)
        async with contextlib.aclosing(messages):
            async for message in messages:
                yield message

    async def InspectExec(self, request: pb.ExecRef, context: Context) -> pb.ExecState:
        """Whether it runs, and its exit code once it does not."""
        return self._streams.execs.inspect(request.id)

    async def ResizeExec(self, request: pb.ResizeRequest, context: Context) -> Empty:
        """The exec's terminal."""
        self._streams.execs.resize(request.ref, request.height, request.width)
        return Empty()

    async def Logs(
        self, request: pb.ContainerLogsRequest, context: Context
    ) -> AsyncIterator[LogsResponse]:
        """What it wrote, and writes."""
        record = await self._find(request.ref)
        supervisor = self._streams.supervisor

        async def begun() -> None:
            await context.send_initial_metadata(rpc.BEGUN)

        follows = begun if request.options.follow else None
        found = logs.read(
            lambda: supervisor.client, record.message, record.folder, request, follows
        )
        async with contextlib.aclosing(found):
            async for response in found:
                yield response
