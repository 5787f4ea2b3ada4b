"""Writable file systems over images: one suite for every driver."""

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_world import FAST, SMALL, Tar, image_of, needs_root, one_file

from swarmlite.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    ResourceExhausted,
)
from swarmlite.paths import Paths
from swarmlite.storage.host import Storage
from swarmlite.storage.images.types import Image
from swarmlite.testing.oci import docker_archive

pytestmark = needs_root
DRIVERS = ["overlay", "copying"]


def layers() -> list[bytes]:
    """Two tars; the second hides "gone" and all that "hidden" had."""
    base = Tar().dir("etc").add("etc/passwd", b"root", mode=0o600, uid=7, gid=8)
    base.dir("hidden").add("hidden/old", b"x").add("gone", b"x").dir("kept").add("kept/a", b"aa")
    base.hard("kept/b", "kept/a").link("link", "/etc").dir("empty", mode=0o1777)
    top = Tar().add(".wh.gone", b"").dir("hidden").add("hidden/.wh..wh..opq", b"")
    top.add("hidden/new", b"new").add("etc/added", b"y", mode=0o4755)
    return [base.bytes(), top.bytes()]


def opened(tmp_path: Path, driver: str) -> Storage:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SWARMLITE_STORAGE_DRIVER", driver)
        made = Storage(Paths(tmp_path / "state", tmp_path / "run"), settings=FAST, limits=SMALL)
    assert made.snapshots.driver == driver
    return made


@pytest.fixture(params=DRIVERS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    made = opened(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture
async def image(storage: Storage) -> Image:
    """Two layers; the second hides "gone" and all that "hidden" had."""
    built = image_of("x:1", *layers())
    (loaded,) = await storage.images.load(io.BytesIO(docker_archive([built])))
    return loaded


def changed(storage: Storage, key: str) -> list[str]:
    return [f"{change.kind} {change.path}" for change in storage.snapshots.changes(key)]


def test_a_new_snapshot_shows_the_image(storage: Storage, image: Image) -> None:
    storage.snapshots.prepare("c1", image.layers)
    assert changed(storage, "c1") == [] and storage.snapshots.usage("c1") == 0
    with storage.snapshots.mounted("c1") as root:
        assert sorted(path.name for path in root.iterdir()) == [
            "empty", "etc", "hidden", "kept", "link",
        ]  # fmt: skip
        assert [path.name for path in (root / "hidden").iterdir()] == ["new"]
        status = (root / "etc/passwd").stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (7, 8, 0o600)
        assert (root / "etc/added").stat().st_mode & 0o7777 == 0o4755
        assert (root / "kept/a").stat().st_ino == (root / "kept/b").stat().st_ino
        assert (root / "link").readlink() == Path("/etc")
        assert (root / "empty").stat().st_mode & 0o7777 == 0o1777
        with pytest.raises(OSError, match=r"Read-only|Permission"):
            (root / "etc/passwd").write_text("x")


def test_what_is_written_stays_in_its_snapshot(storage: Storage, image: Image) -> None:
    for key in ("c1", "c2"):
        storage.snapshots.prepare(key, image.layers)
    with storage.snapshots.mounted("c1", write=True) as root:
        (root / "etc/passwd").write_text("changed")
        (root / "data/sub").mkdir(parents=True)
        (root / "data/sub/file").write_bytes(bytes(1000))
        (root / "kept/a").unlink()
        (root / "hidden/new").unlink()
        (root / "hidden").rmdir()
    assert changed(storage, "c1") == [
        "A /data", "A /data/sub", "A /data/sub/file", "C /etc", "C /etc/passwd",
        "D /hidden", "C /kept", "D /kept/a",
    ]  # fmt: skip
    assert storage.snapshots.usage("c1") == 1007
    assert changed(storage, "c2") == []
    with storage.snapshots.mounted("c1") as root:
        assert (root / "etc/passwd").read_text() == "changed"
        assert not (root / "hidden").exists() and (root / "kept/b").read_text() == "aa"


def test_a_directory_in_the_place_of_another_hides_it(storage: Storage, image: Image) -> None:
    storage.snapshots.prepare("c1", image.layers)
    with storage.snapshots.mounted("c1", write=True) as root:
        for name in ("a", "b"):
            (root / "kept" / name).unlink()
        (root / "kept").rmdir()
        (root / "kept").mkdir()
        (root / "kept/b").write_text("mine")
    assert changed(storage, "c1") == ["C /kept", "D /kept/a", "C /kept/b"]


async def test_a_difference_is_a_layer_that_gives_the_same_again(
    storage: Storage, image: Image
) -> None:
    storage.snapshots.prepare("c1", image.layers)
    with storage.snapshots.mounted("c1", write=True) as root:
        (root / "etc/passwd").unlink()
        (root / "hidden/new").unlink()
        (root / "hidden").rmdir()
        (root / "hidden").mkdir()
        (root / "hidden/own").write_text("own")
        (root / "two").write_text("12")
        os.link(root / "two", root / "same")
        os.setxattr(root / "two", "user.note", b"\x00\xff")
        os.chown(root / "two", 1234, 5678)
        (root / "kept/a").chmod(0o2711)
        os.mkfifo(root / "pipe")
        (root / os.fsdecode(b"odd-\xff")).symlink_to("nowhere")
        (root / ("long" * 50)).mkdir()
    tar = b"".join(storage.snapshots.commit("c1"))
    with tarfile.open(fileobj=io.BytesIO(tar)) as read:
        names = read.getnames()
    assert {"etc/.wh.passwd", "hidden/own", "pipe"} <= set(names)
    assert "empty" not in names
    copy = image_of("y:1", *layers(), tar)
    (loaded,) = await storage.images.load(io.BytesIO(docker_archive([copy])))
    storage.snapshots.prepare("c2", loaded.layers)
    with storage.snapshots.mounted("c2") as root:
        assert not (root / "etc/passwd").exists() and (root / "etc/added").exists()
        assert [path.name for path in (root / "hidden").iterdir()] == ["own"]
        two = (root / "two").stat()
        assert (two.st_uid, two.st_gid, two.st_nlink) == (1234, 5678, 2)
        assert os.getxattr(root / "two", "user.note") == b"\x00\xff"
        assert (root / "kept/a").stat().st_mode & 0o7777 == 0o2711
        assert stat.S_ISFIFO((root / "pipe").stat().st_mode)
        assert (root / os.fsdecode(b"odd-\xff")).readlink() == Path("nowhere")
        assert (root / ("long" * 50)).is_dir()


def test_owners_of_a_container_s_range_of_ids_are_written_as_its_own(
    storage: Storage, image: Image
) -> None:
    """A container in a user namespace: its 0 is another id of the host, and an image knows none."""
    storage.snapshots.prepare("c1", image.layers)
    with storage.snapshots.mounted("c1", write=True) as root:
        for name, uid, gid in (("inside", 100_005, 165_535), ("outside", 5, 165_536)):
            (root / name).touch()
            os.chown(root / name, uid, gid)
    tar = b"".join(storage.snapshots.commit("c1", first_id=100_000, id_count=65_536))
    with tarfile.open(fileobj=io.BytesIO(tar)) as read:
        owners = {member.name: (member.uid, member.gid) for member in read}
    assert owners["inside"] == (5, 65_535) and owners["outside"] == (5, 165_536)


def test_preparing_again_is_safe_and_other_layers_are_refused(
    storage: Storage, image: Image
) -> None:
    first = storage.snapshots.prepare("c1", image.layers)
    assert storage.snapshots.prepare("c1", image.layers) == first
    assert storage.snapshots.root("c1") == first
    assert storage.snapshots.layers("c1") == image.layers
    with pytest.raises(AlreadyExists):
        storage.snapshots.prepare("c1", image.layers[:1])
    with pytest.raises(NotFound, match="not unpacked"):
        storage.snapshots.prepare("c2", ["sha256:" + "0" * 64])
    for key in ("", "..", "a/b", ".x", "a" * 200, "-"):
        with pytest.raises(InvalidSpec, match="snapshot key"):
            storage.snapshots.prepare(key, image.layers)
    for call in (storage.snapshots.root, storage.snapshots.changes, storage.snapshots.usage):
        with pytest.raises(NotFound, match="no such snapshot: c2"):
            call("c2")
    assert storage.snapshots.keys() == ["c1"]


def test_without_layers_the_root_is_empty(storage: Storage) -> None:
    storage.snapshots.prepare("c1", ())
    with storage.snapshots.mounted("c1", write=True) as root:
        assert list(root.iterdir()) == []
        (root / "file").write_text("x")
    assert changed(storage, "c1") == ["A /file"]


async def test_snapshots_outlive_the_process_and_keep_their_layers(
    storage: Storage, image: Image, tmp_path: Path
) -> None:
    storage.snapshots.prepare("c1", image.layers)
    with storage.snapshots.mounted("c1", write=True) as root:
        (root / "file").write_text("x")
    await storage.images.remove("x:1", force=True)
    storage.close()
    after = opened(tmp_path, storage.snapshots.driver)
    assert after.images.list() == [] and after.snapshots.keys() == ["c1"]
    with after.snapshots.mounted("c1") as root:
        assert (root / "file").read_text() == "x" and (root / "hidden/new").exists()
    after.snapshots.remove("c1")
    after.snapshots.remove("c1")
    assert after.snapshots.keys() == []
    assert set(after.images.collect()) == set(image.layers)
    after.close()


def test_a_removal_that_was_cut_short_is_ended_at_the_next_start(
    storage: Storage, image: Image, tmp_path: Path
) -> None:
    storage.snapshots.prepare("c1", image.layers)
    folder = tmp_path / "state/snapshots"
    (folder / "c1").rename(folder / ".gone-c1")
    storage.close()
    after = opened(tmp_path, storage.snapshots.driver)
    assert after.snapshots.keys() == []
    after.snapshots.prepare("c1", image.layers)
    after.snapshots.remove("c1")
    after.close()


def test_a_creation_that_was_cut_short_is_completed_by_the_next(
    storage: Storage, image: Image, tmp_path: Path
) -> None:
    whole = storage.snapshots.prepare("c1", image.layers)
    (tmp_path / "state/snapshots/c1/layers").unlink()
    storage.close()
    after = opened(tmp_path, storage.snapshots.driver)
    assert after.snapshots.keys() == []
    assert after.snapshots.prepare("c1", image.layers) == whole
    after.close()


def test_changes_are_bounded(storage: Storage, image: Image) -> None:
    storage.snapshots.prepare("c1", image.layers)
    with storage.snapshots.mounted("c1", write=True) as root:
        for number in range(50):
            (root / str(number)).touch()
    with pytest.raises(ResourceExhausted, match="more than 49"):
        storage.snapshots.changes("c1", limit=49)
    assert len(storage.snapshots.changes("c1", limit=50)) == 50


def test_links_of_a_container_lead_nowhere(storage: Storage, image: Image, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x" * 5000)
    storage.snapshots.prepare("c1", image.layers)
    with storage.snapshots.mounted("c1", write=True) as root:
        (root / "out").symlink_to(tmp_path)
        (root / "link").unlink()
        (root / "link").mkdir()
        (root / "link/passwd").write_text("1")
    assert changed(storage, "c1") == ["C /link", "A /link/passwd", "A /out"]
    assert storage.snapshots.usage("c1") == 1
    assert b"x" * 5000 not in b"".join(storage.snapshots.commit("c1"))
    storage.snapshots.remove("c1")
    assert (tmp_path / "secret").exists()


async def test_an_image_in_use_stays(storage: Storage, image: Image) -> None:
    used = storage.images.use("x:1", "container/abcdef0123456789")
    storage.snapshots.prepare("c1", used.layers)
    with pytest.raises(FailedPrecondition, match="in use by container abcdef012345"):
        await storage.images.remove("x:1")
    await storage.images.remove("x:1", force=True)  # loses its name only
    assert storage.images.get(image.id).layers == image.layers
    storage.leases.release("container/abcdef0123456789")
    storage.snapshots.remove("c1")
    assert set((await storage.images.remove(image.id)).deleted) == {image.id, *image.layers}


async def test_a_layer_of_a_snapshot_outlives_its_image(storage: Storage) -> None:
    built = image_of("z:1", one_file("a", "1"))
    (loaded,) = await storage.images.load(io.BytesIO(docker_archive([built])))
    storage.snapshots.prepare("c1", loaded.layers)
    assert (await storage.images.remove("z:1")).deleted == (loaded.id,)
    with storage.snapshots.mounted("c1") as root:
        assert (root / "a").read_text() == "1"
