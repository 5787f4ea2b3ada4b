"""Sparse files of layers are unpacked with their holes, whichever way GNU tar wrote them."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from image_world import SMALL, needs_root, unpack

from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.storage.images.store import ImageStore

pytestmark = needs_root
FORMS = ["--format=gnu", *(f"--format=posix --sparse-version={v}" for v in ("0.0", "0.1", "1.0"))]
LONG = "n" * 120


def holes(path: Path, runs: list[tuple[int, bytes]], size: int) -> bytes:
    """A file with data at these places; its whole content."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in runs:
            file.seek(offset)
            file.write(data)
    return path.read_bytes()


def archived(folder: Path, form: str) -> bytes:
    command = ["tar", "--sparse", *form.split(), "--numeric-owner", "-cf", "-", "."]
    made = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"this tar does not write {form}: {made.stderr.decode()[:100]}")
    return made.stdout


@pytest.mark.parametrize("form", FORMS)
async def test_what_gnu_tar_writes(store: ImageStore, tmp_path: Path, form: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    blocks = [(n * 65_536, os.urandom(4096)) for n in range(40)]
    contents = {
        "few": holes(source / "few", [(1 << 20, b"x" * 5000), (8 << 20, b"end")], 9 << 20),
        "many": holes(source / "many", blocks, 3 << 20),
        "nothing": holes(source / "nothing", [], 4 << 20),
        "start": holes(source / "start", [(0, b"a" * 4096)], 2 << 20),
        LONG: holes(source / LONG, [(70_000, b"long")], 1 << 20),
        "after": b"plain",
    }
    (source / "after").write_bytes(b"plain")
    (source / "many").chmod(0o751)
    tar = archived(source, form)
    assert len(tar) < 2 << 20, "these were not sparse"
    unpacked = await unpack(store, tar)
    for name, content in contents.items():
        assert (unpacked / name).read_bytes() == content
    assert (unpacked / "many").stat().st_mode & 0o777 == 0o751
    taken = (unpacked / "nothing").stat().st_blocks * 512
    assert taken < 64 << 10


def posix(records: dict[str, str], data: bytes) -> bytes:
    """One member with these pax records."""
    info = tarfile.TarInfo("x")
    info.size = len(data)
    info.pax_headers = records
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512) + bytes(1024)


def in_data(lines: str) -> bytes:
    records = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0",
        "GNU.sparse.name": "x", "GNU.sparse.realsize": "1000",
    }  # fmt: skip
    text = lines.encode()
    return posix(records, text + bytes(-len(text) % 512) + b"abcd")


def in_header(size: str, runs: str) -> bytes:
    return posix({"GNU.sparse.size": size, "GNU.sparse.map": runs}, b"abcd")


@pytest.mark.parametrize(
    ("tar", "message"),
    [
        (in_header("1000", "0,4,2,4"), "does not fit its size"),
        (in_header("1000", "998,4"), "does not fit its size"),
        (in_header("1000", "0,3"), "does not fit its data"),
        (in_header("1000", "0"), "ends early"),
        (in_header("1000", "0,x"), "not a list of numbers"),
        (in_header("-1", "0,4"), "not a list of numbers"),
        (posix({"GNU.sparse.map": "0,4"}, b"abcd"), "has no size"),
        (in_data("1\n0\n5\n"), "does not fit its data"),
        (in_data("9\n0\n4\n"), "does not end"),
        (in_data("x\n0\n4\n"), "not a list of numbers"),
        (in_data("1" * 600), "does not end|not a list of numbers"),
    ],
)
async def test_maps_that_do_not_fit_are_refused(
    store: ImageStore, tar: bytes, message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        await unpack(store, tar)


@pytest.mark.parametrize(
    ("tar", "message"),
    [
        (in_header(str(1 << 40), "0,4"), f"longer than {SMALL.bytes >> 20} MiB"),
        (in_header("1000", ",".join(["0,0"] * 70_000) + ",0,4"), "more than 65536 runs"),
        (in_data("99999999\n"), "more than 65536 runs"),
    ],
)
async def test_sparse_bombs_are_bounded(store: ImageStore, tar: bytes, message: str) -> None:
    with pytest.raises(ResourceExhausted, match=message):
        await unpack(store, tar)


async def test_good_maps_of_hand(store: ImageStore) -> None:
    unpacked = await unpack(store, in_data("2\n0\n1\n997\n3\n"))
    assert (unpacked / "x").read_bytes() == b"a" + bytes(996) + b"bcd"
    unpacked = await unpack(store, in_header("10", "2,4"))
    assert (unpacked / "x").read_bytes() == b"\0\0abcd\0\0\0\0"
