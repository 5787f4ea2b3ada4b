"""The files' part of the `Containers` service: cp, export, diff."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from swarmlite.engine.container_events import ContainerEvents
from swarmlite.engine.files import Files
from swarmlite.engine.records import Records
from swarmlite.engine.streaming import ToThread, from_thread, through_thread
from swarmlite.engine.unpacking import Unpacking
from swarmlite.errors import InvalidSpec
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.control_pb2 import Empty

Context = Any  # grpc.aio.ServicerContext, which has no types


class FilesService:
    """See containers.proto; to be mixed into its servicer."""

    def __init__(self, files: Files, records: Records, events: ContainerEvents) -> None:
        """`files` does it, `records` finds containers, `events` hears of it."""
        self._files, self._by_ref, self._told = files, records, events

    async def StatPath(self, request: pb.PathRequest, context: Context) -> pb.PathStat:
        """What is at a path."""
        record = self._by_ref.find(request.ref)
        return await asyncio.to_thread(self._files.stat, record, request.path)

    async def CopyFrom(
        self, request: pb.PathRequest, context: Context
    ) -> AsyncIterator[pb.CopyFromResponse]:
        """What is at a path, then a tar of it."""
        record = self._by_ref.find(request.ref)
        stat = await asyncio.to_thread(self._files.stat, record, request.path)
        self._told.tell(record, "archive-path")
        yield pb.CopyFromResponse(stat=stat)
        async for chunk in from_thread(partial(self._files.pack, record, request.path)):
            yield pb.CopyFromResponse(data=chunk)

    async def CopyTo(self, request: AsyncIterator[pb.CopyToRequest], context: Context) -> Empty:
        """A tar, unpacked into a directory."""
        first = await anext(request, None)
        if first is None or not first.HasField("to"):
            raise InvalidSpec("the first message says where to copy to")
        to, record = first.to, self._by_ref.find(first.to.ref)

        async def chunks() -> AsyncIterator[bytes]:
            async for message in request:
                if message.data:
                    yield message.data

        def work(source: ToThread) -> None:
            unpacking = Unpacking(
                source, keep_owners=to.copy_uid_gid, keep_kinds=to.no_overwrite_dir_non_dir
            )
            self._files.unpack(record, to, unpacking)

        await through_thread(chunks(), work)
        self._told.tell(record, "extract-to-dir")
        return Empty()

    async def Export(self, request: pb.ContainerRef, context: Context) -> AsyncIterator[pb.Chunk]:
        """A tar of the whole file system."""
        record = self._by_ref.find(request.ref)
        self._told.tell(record, "export")
        async for chunk in from_thread(partial(self._files.export, record)):
            yield pb.Chunk(data=chunk)

    async def Changes(self, request: pb.ContainerRef, context: Context) -> pb.ChangesResponse:
        """What differs from the image."""
        record = self._by_ref.find(request.ref)
        return await asyncio.to_thread(self._files.changes, record)
