"""Reading log files: tail from the end, since, follow across rotation; and writing them."""

from __future__ import annotations

import asyncio
import gzip
import time
from pathlib import Path

import pytest

from swarmlite.runtime import logs
from swarmlite.runtime.supervisor.lines import Lines
from swarmlite.runtime.supervisor.logfiles import FileLog, timestamp


def write(path: Path, count: int, *, max_bytes: int = 1000, max_files: int = 3) -> None:
    writer = FileLog(str(path), max_bytes, max_files, False)
    for number in range(count):
        writer.write("stdout", [f"line {number}\n".encode()])
    writer.close()


async def texts(path: Path, **options: object) -> list[str]:
    return [line.data.decode() async for line in logs.read(path, **options)]  # type: ignore[arg-type]


async def test_tail_reads_from_the_end_across_rotated_files(tmp_path: Path) -> None:
    write(tmp_path / "log", 40)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    everything = await texts(tmp_path / "log")
    assert everything[-1] == "line 39\n" and len(everything) > 20
    for count in (0, 1, 5, 15, 25):
        assert await texts(tmp_path / "log", tail=count) == everything[len(everything) - count :]
    assert await texts(tmp_path / "log", tail=1000) == everything


async def test_since_leaves_out_what_is_older(tmp_path: Path) -> None:
    write(tmp_path / "log", 3, max_bytes=10000)
    between = time.time()
    write(tmp_path / "log", 2, max_bytes=10000)
    assert await texts(tmp_path / "log", since=between) == ["line 0\n", "line 1\n"]


async def test_follow_goes_on_across_rotation_and_ends_when_told(tmp_path: Path) -> None:
    ended = asyncio.Event()
    seen: list[str] = []

    async def read() -> None:
        async for line in logs.read(tmp_path / "log", follow=True, ended=ended):
            seen.append(line.data.decode())

    task = asyncio.create_task(read())
    for number in range(30):  # some forty bytes of text each: a rotation every dozen lines
        writer = FileLog(str(tmp_path / "log"), 1000, 3, False)
        writer.write("stderr", [f"line {number}\n".encode()])
        writer.close()
        await asyncio.sleep(0.02)
    ended.set()
    await asyncio.wait_for(task, 5)
    assert seen == [f"line {number}\n" for number in range(30)]


async def test_a_missing_file_is_empty_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    assert await texts(tmp_path / "none") == []
    write(tmp_path / "log", 2)
    with (tmp_path / "log").open("a") as file:
        file.write('{"log":"to')
    assert await texts(tmp_path / "log") == ["line 0\n", "line 1\n"]


def test_times_are_read_to_the_nanosecond() -> None:
    assert logs.parse_time("1970-01-01T00:00:01.000000002Z") == 1_000_000_002
    assert abs(logs.parse_time(timestamp()) - time.time_ns()) < 10**9


async def test_long_lines_are_split_and_odd_bytes_survive(tmp_path: Path) -> None:
    writer = FileLog(str(tmp_path / "log"), 1 << 20, 2, False)
    cut = Lines("stdout", writer)
    text = b"x" * 40_000 + b'\n"\\\t\x01 \xc3\xa9 \xff\nrest'
    for at in range(0, len(text), 10_000):
        cut.feed(text[at : at + 10_000])
    cut.flush()
    writer.close()
    lines = await texts(tmp_path / "log")
    assert "".join(lines[:3]) == "x" * 40_000 + "\n"
    assert len(lines[0]) == 16384
    assert lines[3:] == ['"\\\t\x01 é �\n', "rest"]


async def test_a_full_disk_loses_lines_and_says_so(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "log").symlink_to("/dev/full")
    writer = FileLog(str(tmp_path / "log"), 1000, 2, False)
    writer.write("stdout", [b"lost\n"])
    assert writer.lost_bytes > 0
    writer.close()


async def test_compressed_files_are_read_too(tmp_path: Path) -> None:
    write(tmp_path / "log", 20, max_bytes=1000, max_files=2)
    older = tmp_path / "log.1"
    (tmp_path / "log.1.gz").write_bytes(gzip.compress(older.read_bytes()))
    expected = await texts(tmp_path / "log")
    older.unlink()
    assert await texts(tmp_path / "log") == expected
    assert await texts(tmp_path / "log", tail=12) == expected[-12:]
