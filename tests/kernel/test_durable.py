"""Files are whole or as they were, also when the disk is full."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmlite.kernel import durable

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk without a free block, and a file "kept" on it."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    try:
        (place / "kept").write_bytes(b"old")
        with (place / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError as error:
                assert error.errno == errno.ENOSPC
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_is_replaced_and_nothing_else_stays(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "state.json"
    for content in (b"one", b"two" * 100_000):
        durable.write(path, content, mode=0o640, sync=sync)
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o640
        assert names(tmp_path) == ["state.json"]


@needs_root
def test_a_full_disk_leaves_the_old_file(full: Path) -> None:
    with pytest.raises(OSError, match="No space left") as raised:
        durable.write(full / "kept", bytes(64 << 10))
    assert durable.is_full(raised.value)
    assert (full / "kept").read_bytes() == b"old"
    assert names(full) == ["filler", "kept"]


def test_what_is_removed_may_be_gone_already(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    for _ in range(2):
        durable.remove(tmp_path / "x")
    assert names(tmp_path) == []
    durable.sync_disk(tmp_path)
