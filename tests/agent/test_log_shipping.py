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


def subscription(tail: int = -1, *, plain: bool = False) -> LogSubscription:
    request = LogSubscription(id="one")
    request.selector.service_ids.append("s")
    request.options.tail, request.options.plain = tail, plain
    return request


async def shipped(
    sources: list[Source], tail: int, *, plain: bool = False
) -> dict[str, list[bytes]]:
    """What a subscription brings, by task, up to its end."""
    shipper = LogShipper(lambda: sources)
    shipper.subscribe(subscription(tail, plain=plain))
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


async def test_who_wants_the_text_gets_many_lines_at_once_and_long_ones_whole(
    tmp_path: Path,
) -> None:
    lines = [b"%d " % number + b"y" * 50 + b"\n" for number in range(5_000)]
    lines[2_500] = b"x" * 100_000 + b"\n"
    sources = [source(tmp_path, name, *lines) for name in ("a", "b")]
    found = await shipped(sources, -1, plain=True)
    assert {task: b"".join(texts) for task, texts in found.items()} == dict.fromkeys(
        "ab", b"".join(lines)
    )
    assert all(text.endswith(b"\n") for texts in found.values() for text in texts)
    assert all(len(texts) < 10 for texts in found.values())
    assert b"".join((await shipped(sources, 3, plain=True))["a"]) == b"".join(lines[-3:])


async def test_a_subscription_that_is_paused_sends_nothing_until_it_goes_on(tmp_path: Path) -> None:
    lines = [b"%d\n" % number for number in range(20_000)]
    shipper = LogShipper(lambda: [source(tmp_path, "a", *lines)])
    held = subscription()
    held.pause = True
    shipper.subscribe(held)
    waiting = asyncio.ensure_future(shipper.chunks())
    for _ in range(100):
        await asyncio.sleep(0.001)
    assert not waiting.done()
    shipper.subscribe(LogSubscription(id="one"))
    found = [m.data for chunk in await asyncio.wait_for(waiting, 30) for m in chunk.messages]
    while len(found) < len(lines):
        for chunk in await asyncio.wait_for(shipper.chunks(), 30):
            found += [message.data for message in chunk.messages]
    assert found == lines
