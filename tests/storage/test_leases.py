"""Leases last: over restarts, torn files and full disks."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_world import needs_root

from swarmlite.errors import ResourceExhausted
from swarmlite.storage.leases import Leases


@pytest.fixture
def leases(tmp_path: Path) -> Iterator[Leases]:
    made = Leases(tmp_path / "leases")
    yield made
    made.close()


def again(leases: Leases) -> Leases:
    """The leases after a restart."""
    path = leases._path
    leases.close()
    return Leases(path)


@pytest.mark.parametrize("sync", [True, False])
def test_what_is_held_is_held_after_a_restart(leases: Leases, sync: bool) -> None:
    leases.hold("container/1", images=["sha256:a"], volumes=["v", "w"], sync=sync)
    leases.hold("container/1", volumes=["x"], sync=sync)
    leases.hold("pull/7", images=["sha256:a"], contents=["sha256:c"], sync=sync)
    leases.release("nobody")
    after = again(leases)
    assert after.holders(image="sha256:a") == ["container/1", "pull/7"]
    assert after.holders(volume="x") == ["container/1"]
    assert after.holders(content="sha256:c") == ["pull/7"]
    assert after.holders(image="") == []
    assert after.owners("container/") == ["container/1"]
    after.release("container/1")
    after.release("container/1")
    last = again(after)
    assert last.holders(volume="v") == [] and last.held("container/1").volumes == set()
    last.close()


def test_a_torn_line_is_ignored_and_the_next_is_not_lost(leases: Leases) -> None:
    leases.hold("a", images=["i"])
    leases.hold("b", images=["i"])
    data = leases._path.read_bytes()
    leases.close()
    leases._path.write_bytes(data[:-9])
    after = Leases(leases._path)
    assert after.holders(image="i") == ["a"]
    after.hold("c", images=["i"])
    last = again(after)
    assert last.holders(image="i") == ["a", "c"]
    last.close()


def test_the_file_does_not_grow_for_ever(leases: Leases) -> None:
    leases.hold("kept", volumes=["v"])
    for number in range(20_000):
        leases.hold(f"container/{number}", images=["sha256:" + "a" * 64])
        leases.release(f"container/{number}")
    assert leases._path.stat().st_size < 2 << 20
    after = again(leases)
    assert after.owners() == ["kept"]
    after.close()


def test_holding_the_same_again_writes_nothing(leases: Leases) -> None:
    leases.hold("a", images=["i"], volumes=["v"])
    size = leases._path.stat().st_size
    leases.hold("a", images=["i"])
    assert leases._path.stat().st_size == size


@needs_root
def test_a_full_disk_refuses_what_must_be_durable_and_only_that(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    try:
        leases = Leases(place / "leases")
        leases.hold("before", images=["i"])
        filler = (place / "filler").open("wb", buffering=0)
        with pytest.raises(OSError, match="No space"):
            while True:
                filler.write(bytes(4096))
        filler.close()
        for number in range(200):  # past the end of the block that the file has
            leases.hold(f"quick/{number}", images=["i"])
        with pytest.raises(ResourceExhausted, match="no space left"):
            leases.hold("durable", images=["i"], sync=True)
        assert "durable" not in leases.owners()
        assert len(leases.holders(image="i")) == 201
        (place / "filler").unlink()
        leases.hold("after", images=["i"], sync=True)
        for line in leases._path.read_text().splitlines():
            json.loads(line)
        after = again(leases)
        assert len(after.holders(image="i")) == 202
        after.close()
    finally:
        subprocess.run(["umount", place], check=True)
