"""Reading log files: tail from the end, since, follow across rotation; and writing them."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from pathlib import Path

import pytest

from swarmlite.runtime import logs
from swarmlite.runtime.logs.reader import Reader, Selection
from swarmlite.runtime.logs.text import Form
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
    raw = (tmp_path / "log").read_bytes().splitlines()
    assert [len(json.loads(line)["log"]) for line in raw[:3]] == [16384, 16384, 7233]
    lines = await texts(tmp_path / "log")
    assert lines == ["x" * 40_000 + "\n", '"\\\t\x01 é �\n', "rest"]


async def test_parts_are_cut_between_characters(tmp_path: Path) -> None:
    writer = FileLog(str(tmp_path / "log"), 1 << 20, 2, False)
    line = "é€😀" * 4000 + "\n"
    Lines("stdout", writer).feed(line.encode())
    writer.close()
    assert await texts(tmp_path / "log") == [line]


async def test_tail_counts_lines_and_not_their_parts(tmp_path: Path) -> None:
    writer = FileLog(str(tmp_path / "log"), 60_000, 4, False)
    out, err = Lines("stdout", writer), Lines("stderr", writer)
    wanted = []
    for number in range(6):
        line = f"{number} ".encode() + b"y" * 20_000 + b"\\\\n\n"
        out.feed(line[:17_000])
        err.feed(b"between\n")  # while the long one is not over
        out.feed(line[17_000:])
        wanted += [b"between\n", line]
    writer.close()
    assert (tmp_path / "log.2").exists()
    everything = [line.data async for line in logs.read(tmp_path / "log")]
    assert everything == wanted
    for count in (1, 3, 4, 7):
        found = [line.data async for line in logs.read(tmp_path / "log", tail=count)]
        assert found == wanted[-count:]
    for older in (tmp_path / "log.1", tmp_path / "log.2"):
        Path(f"{older}.gz").write_bytes(gzip.compress(older.read_bytes()))
        older.unlink()
    for count in range(1, len(wanted) + 2):
        found = [line.data async for line in logs.read(tmp_path / "log", tail=count)]
        assert found == wanted[-count:]


async def test_a_line_without_end_comes_in_bounded_pieces(tmp_path: Path) -> None:
    writer = FileLog(str(tmp_path / "log"), 10 << 20, 2, False)
    cut = Lines("stdout", writer)
    for _ in range(10):
        cut.feed(b"z" * 100_000)
    writer.close()
    found = [line.data async for line in logs.read(tmp_path / "log")]
    assert [len(data) for data in found[:3]] == [1 << 18, 1 << 18, 1 << 18]
    assert sum(map(len, found)) == 1_000_000 // 16384 * 16384


async def test_until_ends_also_a_reading_that_follows(tmp_path: Path) -> None:
    write(tmp_path / "log", 3, max_bytes=10000)
    between = time.time()
    write(tmp_path / "log", 2, max_bytes=10000)
    assert len(await texts(tmp_path / "log", until=between)) == 3
    found = await asyncio.wait_for(texts(tmp_path / "log", until=between, follow=True), 30)
    assert len(found) == 3


async def test_neighbours_come_as_one_to_who_wants_only_the_text(tmp_path: Path) -> None:
    writer = FileLog(str(tmp_path / "log"), 10 << 20, 2, False)
    writer.write("stdout", [b"a\n", b"b\n"])
    writer.write("stderr", [b"c\n"])
    writer.write("stdout", [b"d"])
    writer.close()
    found = [b async for b in logs.batches(tmp_path / "log", Selection(text=Form()))]
    assert [(line.stream, line.data) for line in found[0]] == [
        ("stdout", b"a\nb\n"), ("stderr", b"c\n"), ("stdout", b"d"),
    ]  # fmt: skip


async def test_attributes_are_kept_and_read(tmp_path: Path) -> None:
    writer = FileLog(str(tmp_path / "log"), 10 << 20, 2, False, {"tag": "t", "a": '"'})
    writer.write("stdout", [b"line\n"])
    writer.close()
    [line] = [line async for line in logs.read(tmp_path / "log", tail=1)]
    assert line.attrs == {"tag": "t", "a": '"'}


async def test_a_large_log_keeps_no_loop_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = FileLog(str(tmp_path / "log"), 40 << 20, 3, False)
    for _ in range(300):
        writer.write(
            "stdout", [b"some words of a line of usual length %d\n" % n for n in range(999)]
        )
    writer.close()
    longest = 0.0
    run = asyncio.Handle._run

    def watched(handle: asyncio.Handle) -> None:
        nonlocal longest
        began = time.thread_time()
        run(handle)
        longest = max(longest, time.thread_time() - began)

    monkeypatch.setattr(asyncio.Handle, "_run", watched)
    for tail, text in ((200_000, None), (-1, Form()), (-1, Form(timestamps=True))):
        count = 0
        async for batch in logs.batches(tmp_path / "log", Selection(tail, text=text)):
            count += sum(line.data.count(b"\n") for line in batch)
        assert count == (tail if tail > 0 else 299_700)
    assert longest < 0.010  # of processor time, of this thread only


async def test_readers_that_leave_close_their_files(tmp_path: Path) -> None:
    write(tmp_path / "log", 4000, max_bytes=100_000, max_files=4)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        task = asyncio.create_task(texts(tmp_path / "log", tail=3000, follow=True))
        await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    async with asyncio.timeout(30):
        while len(list(Path("/proc/self/fd").iterdir())) > before:
            await asyncio.sleep(0.02)


def test_a_log_whose_file_cannot_be_opened_again_writes_into_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = FileLog(str(tmp_path / "log"), 100, 2, False)
    writer.write("stdout", [b"x" * 90 + b"\n"])
    number = writer._fd
    monkeypatch.setattr(writer, "path", str(tmp_path / "gone" / "log"))
    writer.write("stdout", [b"lost\n"])  # rotates, and finds no folder
    with (tmp_path / "other").open("wb") as other:
        assert other.fileno() == number, "the number is free again"
        writer.write("stdout", [b"lost too\n"])
        assert writer.lost_bytes > 0
    assert (tmp_path / "other").read_bytes() == b""
    (tmp_path / "gone").mkdir()
    writer.write("stdout", [b"kept\n"])
    writer.close()
    assert b"kept" in (tmp_path / "gone" / "log").read_bytes()


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


async def test_who_follows_and_falls_behind_reads_on_in_files_that_were_compressed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"

    def rotate(number: int) -> None:
        older = Path(f"{path}.{number}")
        Path(f"{older}.gz").write_bytes(gzip.compress(older.read_bytes()))
        older.unlink()

    for text in (None, Form()):
        for file in tmp_path.iterdir():
            file.unlink()
        write(path, 3, max_bytes=10_000)
        reader = Reader(path, Selection(text=text))
        seen = [line.data for line in reader.next_batch()]
        assert reader.next_batch() == []
        for number in range(3):  # what is being read becomes log.1, .2, .3, all compressed
            writer = FileLog(str(path), 1, 9, False)
            writer.write("stdout", [f"later {number}\n".encode()])
            writer.close()
        for number in (1, 2, 3):
            rotate(number)
        assert reader.grown()
        while batch := reader.next_batch():
            seen += [line.data for line in batch]
        reader.stop()
        assert b"".join(seen) == b"line 0\nline 1\nline 2\nlater 0\nlater 1\nlater 2\n"
