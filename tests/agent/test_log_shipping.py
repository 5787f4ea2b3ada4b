"""Logs of tasks on their way to a manager: whole lines, counted as lines, in bounded portions."""

from __future__ import annotations

import asyncio
from pathlib import Path

from swarmlite.agent.logs import PORTION_BYTES, PORTION_LINES, LogShipper, Source
from swarmlite.proto.dispatcher_pb2 import LogSubscription
from swarmlite.proto.objects_pb2 import Task
from swarmlite.runtime.supervisor.lines import Lines
from swarmlite.runtime.supervisor.logfiles import FileLog


def source(tmp_path: Path, task_id: str, *texts: bytes) -> Source:
    log = FileLog(str(tmp_path / task_id), 100 << 20, 3, False)
    lines = Lines("stdout", log)
    for text in texts:
        lines.feed(text)
    lines.flush()
    log.close()
    ended = asyncio.Event()
    ended.set()
    return Source(Task(id=task_id, service_id="s"), tmp_path / task_id, ended)


async def shipped(sources: list[Source], tail: int) -> dict[str, list[bytes]]:
    """What a subscription brings, by task, up to its end."""
    shipper = LogShipper(lambda: sources)
    request = LogSubscription(id="one")
    request.selector.service_ids.append("s")
    request.options.tail = tail
    shipper.subscribe(request)
    found: dict[str, list[bytes]] = {}
    while True:
        for chunk in await asyncio.wait_for(shipper.chunks(), 30):
            assert len(chunk.messages) <= 2 * PORTION_LINES
            assert chunk.ByteSize() <= 4 * PORTION_BYTES
            for message in chunk.messages:
                found.setdefault(message.context.task_id, []).append(message.data)
            if chunk.close:
                return found


async def test_a_line_of_20_kb_is_one_line_and_tail_counts_it_as_one(tmp_path: Path) -> None:
    long = b"x" * 20_000 + b"\n"
    sources = [source(tmp_path, name, b"first\n", long, b"last\n") for name in ("a", "b")]
    assert await shipped(sources, -1) == {key: [b"first\n", long, b"last\n"] for key in "ab"}
    assert await shipped(sources, 2) == {key: [long, b"last\n"] for key in "ab"}


async def test_a_large_log_comes_whole_in_bounded_portions(tmp_path: Path) -> None:
    lines = [b"%d " % number + b"y" * 50 + b"\n" for number in range(20_000)]
    wide = [b"z" * 100_000 + b"\n"] * 30
    sources = [source(tmp_path, "a", *lines), source(tmp_path, "b", *wide)]
    assert await shipped(sources, -1) == {"a": lines, "b": wide}
