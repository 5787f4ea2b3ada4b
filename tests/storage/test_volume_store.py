"""Volumes: names, options, removal, and the image's content at first use."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from image_world import needs_root, snapshot

from swarmlite.errors import AlreadyExists, FailedPrecondition, InvalidSpec, NotFound
from swarmlite.storage.volumes.store import VolumeStore

pytestmark = needs_root


@pytest.fixture
def volumes(tmp_path: Path) -> VolumeStore:
    return VolumeStore(tmp_path / "volumes")


@pytest.fixture
def image(tmp_path: Path) -> list[Path]:
    """Two layers, topmost first."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "data/sub").mkdir(parents=True)
    (lower / "data/kept").write_text("lower")
    (lower / "data/gone").write_text("x")
    (lower / "data/link").symlink_to("/etc/passwd")
    os.link(lower / "data/kept", lower / "data/sub/same")
    (lower / "alias").symlink_to("/data")
    (lower / "host").symlink_to("../../../../../../etc")
    (upper / "data").mkdir(parents=True)
    os.mknod(upper / "data/gone", stat.S_IFCHR, 0)
    (upper / "data/new").write_text("upper")
    for layer in (lower, upper):
        os.chown(layer / "data", 998, 997)
        (layer / "data").chmod(0o750)
    return [upper, lower]


def test_a_volume_is_made_once_and_found_again(volumes: VolumeStore, tmp_path: Path) -> None:
    made = volumes.create("db-data", labels={"a": "b"})
    assert made.mountpoint == tmp_path / "volumes/db-data/_data"
    assert volumes.create("db-data") == made
    assert VolumeStore(tmp_path / "volumes").list() == [made]
    assert len(volumes.create().name) == 64
    assert (tmp_path / "volumes").stat().st_mode & 0o777 == 0o700


def test_threads_that_want_the_same_volume_get_one(volumes: VolumeStore, image: list[Path]) -> None:
    def use(_: int) -> tuple[float, bool]:
        created = volumes.create("shared").created
        return created, volumes.copy_up("shared", image, "/data")

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(use, range(8)))
    assert len({created for created, _ in results}) == 1
    assert [copied for _, copied in results].count(True) == 1


@pytest.mark.parametrize("name", ["..", ".", "a/b", "-x", "a\0b", "x" * 256, "a b", "../../etc"])
def test_names_that_are_paths_are_refused(volumes: VolumeStore, name: str) -> None:
    for call in (volumes.create, volumes.get, volumes.remove):
        with pytest.raises(InvalidSpec, match="invalid volume name"):
            call(name)


def test_drivers_and_options_are_checked(volumes: VolumeStore) -> None:
    with pytest.raises(InvalidSpec, match="unknown volume driver 'nfs'"):
        volumes.create("x", driver="nfs")
    with pytest.raises(InvalidSpec, match="unknown volume option 'size'"):
        volumes.create("x", options={"size": "1"})
    with pytest.raises(InvalidSpec, match="may not start"):
        volumes.create("x", options={"type": "tmpfs", "device": "--bind"})
    volumes.create("x", options={"type": "tmpfs", "device": "tmpfs"})
    with pytest.raises(AlreadyExists):
        volumes.create("x", options={"type": "none", "device": "/", "o": "bind"})


def test_removal_needs_it_unused(volumes: VolumeStore) -> None:
    (volumes.create("x").mountpoint / "file").write_text("x")
    with pytest.raises(FailedPrecondition, match="in use"):
        volumes.remove("x", in_use={"x"})
    volumes.remove("x")
    with pytest.raises(NotFound, match="no such volume: x"):
        volumes.remove("x")
    volumes.remove("x", force=True)
    assert volumes.list() == []


def test_what_options_name_is_mounted_and_unmounted(volumes: VolumeStore, tmp_path: Path) -> None:
    data = tmp_path / "elsewhere"
    data.mkdir()
    (data / "file").write_text("x")
    volumes.create("bound", options={"type": "none", "device": str(data), "o": "bind"})
    volumes.create("bad", options={"type": "none", "device": "/nonexistent", "o": "bind"})
    with pytest.raises(FailedPrecondition, match=r"volume bad cannot be mounted: .*nonexistent"):
        volumes.mount("bad")
    try:
        assert (volumes.mount("bound") / "file").read_text() == "x"
        assert volumes.mount("bound") == volumes.get("bound").mountpoint
    finally:
        volumes.remove("bound")
    assert (data / "file").read_text() == "x"


def test_an_empty_volume_gets_the_images_content(volumes: VolumeStore, image: list[Path]) -> None:
    before = [snapshot(layer) for layer in image]
    data = volumes.create("v").mountpoint
    assert volumes.copy_up("v", image, "/alias")
    assert {path.name for path in data.iterdir()} == {"kept", "new", "link", "sub"}
    assert (data.stat().st_uid, data.stat().st_gid) == (998, 997)
    assert data.stat().st_mode & 0o777 == 0o750
    assert (data / "link").readlink() == Path("/etc/passwd")
    assert (data / "kept").stat().st_ino == (data / "sub/same").stat().st_ino
    (data / "kept").write_text("mine")
    assert not volumes.copy_up("v", image, "/data")
    assert (data / "kept").read_text() == "mine"
    assert [snapshot(layer) for layer in image] == before


def test_an_interrupted_copy_is_done_again(volumes: VolumeStore, image: list[Path]) -> None:
    data = volumes.create("v").mountpoint
    (data / "kept").write_text("half")
    (data.parent / "copying").touch()
    assert volumes.copy_up("v", image, "/data")
    assert (data / "kept").read_text() == "lower" and (data / "new").exists()


def test_links_of_an_image_do_not_lead_to_the_host(volumes: VolumeStore, image: list[Path]) -> None:
    for target in ("/host", "/missing", "/data/kept", "../../../../etc", "/data/link"):
        data = volumes.create().mountpoint
        assert not volumes.copy_up(data.parent.name, image, target)
        assert list(data.iterdir()) == []
