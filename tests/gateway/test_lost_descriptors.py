"""A gateway without room for a container's streams says so; nothing runs on without them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmlite import errors
from swarmlite.gateway.streams.handed import Handed
from swarmlite.proto.containers_pb2 import AttachInput

Packet = tuple[dict[str, Any], int]
STREAMS: dict[str, Any] = {"tty": False, "streams": ["stdout", "stderr"]}
LOST = "^{} of {} streams arrived: .* too many files open"


def opened() -> set[int]:
    """The numbers of this process's descriptors."""
    listed = list(Path("/proc/self/fd").iterdir())  # the folder's own is among them, and gone
    return {int(each.name) for each in listed if each.exists()}


@contextlib.contextmanager
def room_for(count: int) -> Iterator[None]:
    """So many descriptors more can be opened."""
    taken, limit = opened(), 0
    while count or limit in taken:
        count -= limit not in taken
        limit += 1
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextlib.asynccontextmanager
async def engine(path: Path, *packets: Packet) -> AsyncIterator[None]:
    """Answers one connection as the engine's socket does, each packet with some descriptors."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)
        ends = os.pipe()
        for end in ends:
            stack.callback(os.close, end)

        async def serve() -> None:
            client, _ = await loop.sock_accept(listener)
            stack.enter_context(client)
            await loop.sock_recv(client, 65536)
            for answer, count in packets:
                socket.send_fds(client, [json.dumps(answer).encode()], [ends[0]] * count)

        serving = asyncio.create_task(serve())
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.wait((serving,))


async def test_an_exec_whose_streams_are_lost_is_refused_in_one_line(tmp_path: Path) -> None:
    """What arrived is closed."""
    before = opened()
    async with engine(tmp_path / "s", ({**STREAMS, "stdin": True}, 3)):
        with room_for(3), pytest.raises(errors.Unavailable, match=LOST.format(1, 3)):
            await Handed.run(tmp_path / "s", "some")  # both ends of the connection, and one stream
    assert opened() == before


async def test_an_attachment_whose_input_is_lost_says_so(tmp_path: Path) -> None:
    before = opened()
    async with engine(tmp_path / "s", (STREAMS, 2), ({"stdin": True}, 1)):
        with room_for(4):
            handed = await Handed.ask(tmp_path / "s", AttachInput.Start(ref="some", stdin=True))
            assert handed is not None and len(handed.streams) == 2
            with pytest.raises(errors.Unavailable, match=LOST.format(0, 1)):
                await handed.connected
        handed.close()
    assert opened() == before


async def test_what_all_arrives_is_taken(tmp_path: Path) -> None:
    async with engine(tmp_path / "s", ({**STREAMS, "stdin": True}, 3)):
        with room_for(5):
            handed = await Handed.run(tmp_path / "s", "some")
        assert handed is not None and len(handed.streams) == 2
        assert await handed.connected not in (None, *handed.streams)
        handed.close()
