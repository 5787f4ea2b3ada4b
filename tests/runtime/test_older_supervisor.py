"""An agent that was upgraded, and the supervisor of before, which runs on until the host boots."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from swarmlite.runtime.client import Supervisor
from swarmlite.runtime.supervisor import protocol

ANSWERS: dict[object, dict[str, object]] = {
    "exec": {"exec_id": "x", "pid": 7},
    "exec_wait": {"exit_code": 3},
}


async def test_an_exec_is_waited_for_by_a_call_of_its_own_and_nothing_is_left_of_it(
    tmp_path: Path,
) -> None:
    """Health checks are execs: what stays of each is a leak for months."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = protocol.Decoder()
        while data := await reader.read(65536):
            for message in decoder.feed(data):
                answer: dict[str, Any] = {"id": message["id"], "ok": ANSWERS[message["op"]]}
                writer.write(protocol.encode(answer))
        writer.close()
        await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    async with await asyncio.start_unix_server(serve, tmp_path / "s.sock"):
        supervisor = await Supervisor.connect(tmp_path / "s.sock")
        try:
            for _ in range(3):
                made = await supervisor.exec(
                    "c", {"args": ["true"]}, stdin=null, stdout=null, stderr=null
                )
                assert await made.wait() == 3
            await asyncio.sleep(0)  # callbacks of what has ended
            assert not supervisor._pending
        finally:
            await supervisor.close()
            os.close(null)
            await ended.wait()  # a server that closes leaves its connections
