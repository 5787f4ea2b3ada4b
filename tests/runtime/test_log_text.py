"""A log as text: the same bytes, whether a block was taken apart at once or line by line."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import pytest

from swarmlite.runtime.logs import blocks
from swarmlite.runtime.logs.lines import LogLine, parse_block
from swarmlite.runtime.logs.reader import Reader, Selection
from swarmlite.runtime.logs.text import Form
from swarmlite.runtime.supervisor.lines import Lines
from swarmlite.runtime.supervisor.logfiles import FileLog

FORMS = [Form(), Form(timestamps=True), Form(details=True), Form(timestamps=True, details=True)]
ODD = [
    b"plain\n",
    b"\n",
    b'"quoted", "stream":"stderr","time":"x"}\n',
    b'","stream":"stdout","time":"2024-05-01T12:00:00.123456789Z"}\n',
    b"back\\slash \\n and a last one\\\n",
    b"tab\tcr\rnul\x00 escape\x1b\n",
    "größer 😀 \u2028\n".encode(),
    b"not \xff utf-8\n",
]


def file_log(path: Path, attrs: dict[str, str] | None = None, max_bytes: int = 1 << 30) -> FileLog:
    return FileLog(str(path), max_bytes, 9, False, attrs)


def read(path: Path, selection: Selection) -> list[tuple[str, bytes]]:
    """What a reading brings, as `pieces` orders it."""
    reader = Reader(path, selection)
    found = []
    while batch := reader.next_batch():
        found += batch
    found += reader.rest()
    reader.stop()
    return pieces([(line.stream, line.data) for line in found], selection)


def pieces(found: list[tuple[str, bytes]], selection: Selection) -> list[tuple[str, bytes]]:
    """Neighbours of one stream as one; by streams where parts of a line go out as they come."""
    if selection.text == Form():
        found = sorted(found, key=lambda piece: piece[0])
    return [
        (stream, b"".join(data for _, data in run))
        for stream, run in itertools.groupby(found, lambda piece: piece[0])
    ]


def expected(path: Path, selection: Selection) -> list[tuple[str, bytes]]:
    """The same by the reader of lines, one after the other."""
    form = selection.text
    assert form is not None
    lines: list[LogLine] = []
    reader = Reader(path, Selection(selection.tail, selection.since_ns, selection.until_ns))
    while batch := reader.next_batch():
        lines += batch
    lines += reader.rest()
    reader.stop()
    made, within = [], set()
    for line in lines:
        before = ""
        if line.stream not in within:
            time = blocks.written(line.time_ns).decode() + " " if form.timestamps else ""
            said = ",".join(f"{k}={v}" for k, v in sorted(line.attrs.items()))
            before = time + (f"{said} " if form.details else "")
        (within.discard if line.data.endswith(b"\n") else within.add)(line.stream)
        made.append((line.stream, before.encode() + line.data))
    return pieces(made, selection)


def write_odd(path: Path, attrs: dict[str, str] | None = None, max_bytes: int = 1 << 30) -> None:
    """Both streams, odd texts, lines in parts, each write with a time of its own."""
    log = file_log(path, attrs, max_bytes)
    out, err = Lines("stdout", log), Lines("stderr", log)
    for number, text in enumerate(ODD * 3):
        (err if number % 5 == 4 else out).feed(text)
    out.feed(b"".join(ODD) * 40)
    out.feed(b"x" * 20_000)
    err.feed(b"while it is not over\n")
    out.feed(b"y" * 300_000 + b"\\\n")
    out.feed(b"the end")
    for cut in (out, err):
        cut.flush()
    log.close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("attrs", [None, {"tag": "t", "app": "web"}])
def test_every_text_is_the_same_as_line_by_line(
    tmp_path: Path, form: Form, attrs: dict[str, str] | None
) -> None:
    path = tmp_path / "log"
    write_odd(path, attrs)
    times = [json.loads(line)["time"] for line in path.read_bytes().splitlines()]
    moments = [line.time_ns for line in parse_block(path.read_bytes())]
    assert len(set(times)) > 20
    for tail in (-1, 0, 1, 7, 200):
        for since in (None, moments[9], moments[-1] + 1):
            for until in (None, moments[-9]):
                selection = Selection(tail, since, until, form)
                assert read(path, selection) == expected(path, selection), selection


@pytest.mark.parametrize("form", FORMS)
def test_rotated_and_compressed_files_are_read_in_a_row(tmp_path: Path, form: Form) -> None:
    path = tmp_path / "log"
    write_odd(path, max_bytes=20_000)
    older = sorted(tmp_path.glob("log.*"))
    assert len(older) > 1
    wanted = expected(path, Selection(text=form))
    for file in older:
        Path(f"{file}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert read(path, Selection(text=form)) == wanted


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "stranger",
    [
        b'{"log":"torn',
        b'{"log":"torn"\n',
        b'{"log":"short time\\n","stream":"stdout","time":"2024-05-01T12:00:00Z"}\n',
        b'{"time":"2024-05-01T12:00:00.123456789Z","stream":"stdout","log":"another order\\n"}\n',
        b'{"log":"other attrs\\n","stream":"stdout","attrs":{"a":"b"},'
        b'"time":"2024-05-01T12:00:00.123456789Z"}\n',
        b'{"log":"bad \\x\\n","stream":"stdout","time":"2024-05-01T12:00:00.123456789Z"}\n',
        b"\n\n",
        b"\x00\x00\x00\n",
    ],
)
def test_lines_of_another_writer_and_torn_ones_spoil_no_others(
    tmp_path: Path, form: Form, stranger: bytes
) -> None:
    path = tmp_path / "log"
    for part in (b"one\n", stranger, b"two\n"):
        if part is stranger:
            with path.open("ab") as file:
                file.write(part)
        else:
            log = file_log(path)
            log.write("stdout", [part] * 3)
            log.close()
    found = read(path, Selection(text=form))
    assert found == expected(path, Selection(text=form))
    assert b"one\n" in found[0][1] and b"two\n" in found[-1][1]


def test_usual_blocks_are_taken_apart_at_once(tmp_path: Path) -> None:
    """Without it all of the above would hold, ten times slower."""
    log = file_log(tmp_path / "log", {"a": "b"})
    for number in range(50):
        log.write("stderr" if number % 3 else "stdout", ODD)
    log.close()
    found = blocks.columns((tmp_path / "log").read_bytes())
    assert found is not None and found.ended() is False  # a backslash before its newline: doubtful
    assert len(found.texts) == 50 * len(ODD) == len(found.times) == len(found.streams)
