"""A client's ssh agents within RUN: connections to a socket there, carried to the client."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

from swarmlite.build.progress import Report
from swarmlite.proto import build_pb2 as pb

_CHUNK = 64 << 10
_MAX_CHANNELS = 64


class Channels:
    """The connections of one build, by their numbers."""

    def __init__(self, report: Report) -> None:
        """`report` carries what containers say."""
        self._report = report
        self._numbers = itertools.count(1)
        self._writers: dict[int, asyncio.StreamWriter] = {}

    async def heard(self, data: pb.SshData) -> None:
        """What the client says on one of them."""
        writer = self._writers.get(data.channel)
        if writer is None:
            return
        with contextlib.suppress(OSError):
            writer.write(data.data)
            await writer.drain()
        if data.close:
            writer.close()

    async def serve(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One connection, to its end."""
        if len(self._writers) >= _MAX_CHANNELS:
            writer.close()
            return
        channel = next(self._numbers)
        self._writers[channel] = writer
        try:
            self._tell(channel, name, b"")
            with contextlib.suppress(OSError):
                while data := await reader.read(_CHUNK):
                    await self._report.tell_much(_event(channel, name, data))
        finally:
            del self._writers[channel]
            self._report.tell(_event(channel, name, b"", close=True))
            writer.close()

    def _tell(self, channel: int, name: str, data: bytes) -> None:
        self._report.tell(_event(channel, name, data))


def _event(channel: int, name: str, data: bytes, *, close: bool = False) -> pb.BuildEvent:
    return pb.BuildEvent(ssh=pb.SshData(channel=channel, id=name, data=data, close=close))


@contextlib.asynccontextmanager
async def listening(channels: Channels, name: str, path: Path) -> AsyncIterator[None]:
    """A socket whose connections lead to the client's agent of that name."""
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(channels.serve(name, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_unix_server(connected, path)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
