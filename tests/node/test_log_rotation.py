"""Logs of a node's processes stay below a size while these write, and nobody starts anew."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmlite.node.children import Child
from swarmlite.node.rotation import LogRotation

LIMIT = 64 * 1024
# Numbered lines of 100 bytes, as fast as asked, until told to end by the file `stop`.
WRITER = """
import pathlib, sys, time
number = 0
while not pathlib.Path(sys.argv[1]).exists():
    for _ in range(20):
        print(f"{number:099d}", flush=True)
        number += 1
    time.sleep(0.001)
print(f"last {number}", flush=True)
time.sleep(60)
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


async def test_a_childs_log_is_rotated_while_it_runs(tmp_path: Path) -> None:
    """Bounded files, in their order, and the child that writes is the one that was started."""
    logs, stop = tmp_path / "logs", tmp_path / "stop"
    logs.mkdir()
    child = Child("etcd", lambda: [sys.executable, "-c", WRITER, str(stop)], logs)
    rotation = LogRotation(logs, max_bytes=LIMIT, kept=2, look_every_s=0.01)
    rotating = asyncio.create_task(rotation.run())
    child.start()
    try:
        current, first, second = (logs / f"etcd.log{end}" for end in ("", ".1", ".2"))
        await until(second.exists)
        pid, seen = child.pid, second.stat().st_ino
        await until(lambda: second.stat().st_ino != seen)
        stop.touch()
        await until(lambda: "last" in current.read_text() + first.read_text())
        assert (child.pid, child.restarts) == (pid, 0)
        rotating.cancel()
        files = sorted(path.name for path in logs.iterdir() if path.suffix != ".new")
        assert files == ["etcd.log", "etcd.log.1", "etcd.log.2"]
        # A copy may also have what came while it was made.
        assert all(path.stat().st_size <= 2 * LIMIT for path in (first, second))
        numbers = [
            int(line)
            for path in (second, first, current)
            for line in lines_of(path)
            if len(line) == 99 and line.isdigit()
        ]
        assert numbers == sorted(numbers)
        assert numbers
    finally:
        rotating.cancel()
        await child.stop()
        await asyncio.gather(rotating, return_exceptions=True)


async def test_of_a_flood_between_two_looks_the_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "supervisor.log"
    log.write_bytes(b"old\n" * LIMIT + b"newest\n")
    await LogRotation(tmp_path, max_bytes=LIMIT, kept=1).turn()
    copy = tmp_path / "supervisor.log.1"
    assert copy.stat().st_size == LIMIT
    assert copy.read_bytes().endswith(b"old\nnewest\n")
    assert log.stat().st_size == 0


async def test_what_is_below_the_limit_stays_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    log.write_bytes(b"x" * LIMIT)
    await LogRotation(tmp_path, max_bytes=LIMIT).turn()
    assert [path.name for path in tmp_path.iterdir()] == ["agent.log"]
    assert log.stat().st_size == LIMIT


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is a tmpfs, which needs root")
async def test_on_a_full_disk_a_log_is_emptied_without_a_copy(tmp_path: Path) -> None:
    """The room of the oldest copy is given back first; a log never holds the disk full."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], check=True)  # noqa: ASYNC221
    try:
        log = tmp_path / "agent.log"
        with log.open("ab", buffering=0) as writer:
            with pytest.raises(OSError) as full:
                while True:
                    writer.write(b"x" * 4096)
            assert full.value.errno == errno.ENOSPC
            await LogRotation(tmp_path, max_bytes=900 * 1024).turn()
            assert [path.name for path in tmp_path.iterdir()] == ["agent.log"]
            writer.write(b"goes on\n")
        assert log.read_bytes() == b"goes on\n"
    finally:
        subprocess.run(["umount", tmp_path], check=True)  # noqa: ASYNC221
