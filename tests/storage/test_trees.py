"""Trees that containers made are walked and removed whatever their shape."""

import fcntl
import os
import resource
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_world import needs_root

from swarmlite.storage import trees

pytestmark = needs_root
NAME = "d" * 100


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def deep(path: Path, levels: int) -> None:
    """Directories in each other, a file in each: far longer a path than any call takes."""
    path.mkdir()
    folder = os.open(path, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(NAME, dir_fd=folder)
        below = os.open(NAME, os.O_RDONLY, dir_fd=folder)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=below))
        os.close(folder)
        folder = below
    os.close(folder)


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 12, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_three_thousand_levels_go_with_a_dozen_descriptors(
    tmp_path: Path, few_descriptors: None
) -> None:
    try:
        deep(tmp_path / "deep", 3000)
        assert trees.size(tmp_path / "deep") == 0
    finally:  # also when it fails: pytest itself could not remove it
        trees.remove(tmp_path / "deep")
    assert names(tmp_path) == []


def test_wide_trees_links_and_special_files_go_and_targets_stay(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    root = tmp_path / "root"
    for number in range(200):
        (root / f"a{number}/b/c").mkdir(parents=True)
        (root / f"a{number}/b/file").write_text("12345")
    (root / "link").symlink_to(outside)
    (root / "a1/b/up").symlink_to("../../..")
    os.mkfifo(root / "a2/fifo")
    os.mknod(root / "a3/whiteout", 0o020000)
    os.link(root / "a4/b/file", root / "same")
    (root / "a5").chmod(0)
    (root / os.fsdecode(b"\xff\xfe")).mkdir()
    assert trees.size(root) == 1000
    trees.remove(root)
    assert names(tmp_path) == ["outside"]
    assert (outside / "kept").read_text() == "x"
    trees.remove(root)  # again


def test_links_and_files_are_removed_themselves(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").touch()
    trees.remove(tmp_path / "link")
    trees.remove(tmp_path / "file")
    assert names(tmp_path) == ["folder"]


def test_a_mount_inside_stays_as_it_is_and_is_said(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_text("x")
    place = tmp_path / "root/a/mounted"
    place.mkdir(parents=True)
    (tmp_path / "root/b/c").mkdir(parents=True)
    subprocess.run(["mount", "--bind", other, place], check=True)
    try:
        assert not trees.sweep(tmp_path / "root")
        with pytest.raises(OSError, match="busy"):
            trees.remove(tmp_path / "root")
        assert (other / "kept").read_text() == "x"
        assert not (tmp_path / "root/b").exists()
    finally:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        where = [words[4] for words in map(str.split, mounts) if str(tmp_path) in words[4]]
        subprocess.run(["umount", *where], check=True)
    trees.remove(tmp_path / "root")
    assert names(tmp_path) == ["other"]


def test_immutable_files_go_too(tmp_path: Path) -> None:
    (tmp_path / "root/a/b").mkdir(parents=True)
    for path in (tmp_path / "root/a/b/file", tmp_path / "root/file"):
        path.touch()
    try:
        for path in (tmp_path / "root/a/b/file", tmp_path / "root/a/b", tmp_path / "root/file"):
            fd = os.open(path, os.O_RDONLY)
            fcntl.ioctl(fd, 0x40086602, struct.pack("l", 0x10))
            os.close(fd)
    except OSError as error:
        pytest.skip(f"this file system has no immutable flag: {error}")
    trees.remove(tmp_path / "root")
    assert names(tmp_path) == []


def test_a_walk_gives_parents_before_what_is_in_them(tmp_path: Path) -> None:
    for path in ("a/b/c", "a/d", "e"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    (tmp_path / "a/up").symlink_to("..")
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        seen = [entry.path for entry in trees.walk(root)]
    finally:
        os.close(root)
    assert sorted(seen) == ["a", "a/b", "a/b/c", "a/b/file", "a/d", "a/up", "e"]
    for path in seen:
        above = path.rpartition("/")[0]
        assert not above or seen.index(above) < seen.index(path)


def test_a_tree_that_changes_while_it_is_measured(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"root/a{number}/b/c").mkdir(parents=True)
        (tmp_path / f"root/a{number}/b/c/file").write_bytes(bytes(100))
    going = threading.Event()

    def move() -> None:
        while not going.is_set():
            for number in range(20):
                path = tmp_path / f"root/a{number}/b"
                path.rename(tmp_path / f"root/moved{number}")
                (tmp_path / f"root/moved{number}").rename(path)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        for _ in range(50):
            assert 0 <= trees.size(tmp_path / "root") <= 4000
    finally:
        going.set()
        mover.join()
    assert trees.size(tmp_path / "root") == 2000


def test_what_is_set_aside_leaves_its_place_at_once_and_the_disk_soon(tmp_path: Path) -> None:
    """Nobody who ends a container waits for the disk; many of them do not pile up."""
    place = tmp_path / "containers/c1"
    for _ in range(trees.MAX_ASIDE + 8):
        (place / "logs").mkdir(parents=True)
        (place / "logs/file").write_bytes(b"x")
        trees.set_aside(place)
        assert not place.exists()
    trees.set_aside(place)  # one that is not there is no error
    trees.wait_for_discards()
    assert list(place.parent.iterdir()) == []
