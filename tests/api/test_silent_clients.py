"""Who is there and says nothing, as if suspended: in front of gRPC's servers and clients."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import grpc
import pytest

from swarmlite import rpc

BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""RFC 9113: the preface, and SETTINGS without any."""
FASTER = 100


def faster(options: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """With a hundredth of their times."""
    timed = ("keepalive_time_ms", "keepalive_timeout_ms", "ping_timeout_ms")
    return [(name, v // FASTER if name.endswith(timed) else v) for name, v in options]


async def connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Bytes from a client that answers nothing."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(BEGIN)
    await reader.readexactly(9)
    return reader, writer


async def test_who_is_suspended_on_this_host_keeps_its_connection(tmp_path: Path) -> None:
    """By the rules for other hosts it is taken for gone, which shows that it was asked."""
    servers, clients = [], []
    for name, options in (("far", rpc.SERVER_OPTIONS), ("local", rpc.LOCAL_SERVER_OPTIONS)):
        server = grpc.aio.server(options=faster(options))
        server.add_insecure_port(f"unix:{tmp_path / name}")
        await server.start()
        servers.append(server)
    try:
        local = await connected(tmp_path / "local")
        far = await connected(tmp_path / "far")
        clients += [local, far]
        async with asyncio.timeout(60):
            while await far[0].read(65536):
                pass
            assert not local[0].at_eof()
            local[1].write(b"\0\0\x08\6\0\0\0\0\0" + b"a ping..")  # it goes on, and is answered
            while b"a ping.." not in await local[0].read(65536):
                assert not local[0].at_eof()
    finally:
        for _, writer in clients:
            writer.close()
        for server in servers:
            await server.stop(None)


async def outcome(path: Path, more: list[tuple[str, Any]]) -> grpc.StatusCode:
    """What a call ends with whose server answers nothing."""
    options = faster([*more, *rpc.CHANNEL_OPTIONS])
    async with grpc.aio.insecure_channel(f"unix:{path}", options=options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary("/a.Service/Method")(b"", timeout=3)
    return error.value.code()


async def test_who_answers_no_ping_is_waited_for_by_a_call_with_a_deadline(tmp_path: Path) -> None:
    writers = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(b"\0\0\0\4\0\0\0\0\0")
        while await reader.read(65536):
            pass

    async with await asyncio.start_unix_server(silent, tmp_path / "silent"):
        try:
            assert await outcome(tmp_path / "silent", []) == grpc.StatusCode.UNAVAILABLE
            deadline = await outcome(tmp_path / "silent", rpc.PATIENT)
        finally:
            for writer in writers:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    assert deadline == grpc.StatusCode.DEADLINE_EXCEEDED
