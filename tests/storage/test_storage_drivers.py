"""Which driver a host uses, and what only the copying one does."""

import io
import os
import stat
import subprocess
from pathlib import Path

import pytest
from image_world import FAST, SMALL, Tar, image_of, needs_root, one_file

from swarmlite.errors import InvalidSpec
from swarmlite.paths import Paths
from swarmlite.storage import drivers, trees
from swarmlite.storage.host import Storage
from swarmlite.storage.snapshots.copier import add_layer, copy_tree
from swarmlite.testing.oci import docker_archive

pytestmark = needs_root


def storage_of(tmp_path: Path) -> Storage:
    return Storage(Paths(tmp_path / "state", tmp_path / "run"), settings=FAST, limits=SMALL)


def test_a_store_keeps_the_driver_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "works", lambda _: False)
    storage_of(tmp_path).close()
    monkeypatch.setattr(drivers, "works", lambda _: True)
    again = storage_of(tmp_path)
    assert (again.snapshots.driver, again.snapshots.quick) == ("copying", False)
    again.close()
    monkeypatch.setenv("SWARMLITE_STORAGE_DRIVER", "zfs")
    with pytest.raises(InvalidSpec, match="expected overlay or copying"):
        storage_of(tmp_path)


def test_overlay_is_found_by_trying(tmp_path: Path) -> None:
    """Where it works nothing of the trial stays; a place that cannot be written has none."""
    assert drivers.works(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not drivers.works(Path("/proc"))


async def test_copied_images_are_dropped_with_their_last_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARMLITE_STORAGE_DRIVER", "copying")
    storage = storage_of(tmp_path)
    built = image_of("x:1", one_file("a", "1"), Tar().add(".wh.a", b"").add("b", b"2").bytes())
    (image,) = await storage.images.load(io.BytesIO(docker_archive([built])))
    for layer in storage.images.lower_dirs(image):
        for path in layer.rglob("*"):
            assert stat.S_ISREG(path.lstat().st_mode)  # no whiteout of overlayfs's
    for key in ("c1", "c2"):
        root = storage.snapshots.prepare(key, image.layers)
        assert root.directory is not None and root.overlay == ""
        assert [path.name for path in root.directory.iterdir()] == ["b"]
    (shown,) = storage.snapshots.image_dirs(image.layers)
    assert (shown / "b").read_bytes() == b"2"
    storage.snapshots.remove("c1")
    assert shown.exists()
    storage.snapshots.remove("c2")
    trees.wait_for_discards()
    assert list((tmp_path / "state/snapshots").iterdir()) == []
    storage.close()


async def test_layers_of_the_other_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copying reads overlayfs's layers; overlayfs would show whiteouts that are files."""
    built = image_of("x:1", one_file("a", "1"), Tar().add(".wh.a", b"").bytes())
    archive = docker_archive([built])
    monkeypatch.setenv("SWARMLITE_STORAGE_DRIVER", "overlay")
    storage = storage_of(tmp_path)
    (image,) = await storage.images.load(io.BytesIO(archive))
    storage.close()
    monkeypatch.setenv("SWARMLITE_STORAGE_DRIVER", "copying")
    storage = storage_of(tmp_path)
    root = storage.snapshots.prepare("c1", storage.images.get("x:1").layers)
    assert root.directory is not None and list(root.directory.iterdir()) == []
    storage.snapshots.remove("c1")
    await storage.images.delete([image.id])
    await storage.images.load(io.BytesIO(archive))
    storage.close()
    monkeypatch.setenv("SWARMLITE_STORAGE_DRIVER", "overlay")
    storage = storage_of(tmp_path)
    assert storage.images.list() == []
    await storage.images.load(io.BytesIO(archive))
    storage.snapshots.prepare("c1", image.layers)
    with storage.snapshots.mounted("c1") as seen:
        assert list(seen.iterdir()) == []
    storage.close()


def test_copies_are_the_same_in_every_respect(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target, source / "d/e"):
        folder.mkdir(parents=True)
    holes = source / "holes"
    with holes.open("wb") as file:
        file.truncate(4 << 20)
        file.seek(1 << 20)
        file.write(b"x" * 5000)
    (source / "d/file").write_text("1")
    os.link(source / "d/file", source / "d/e/same")
    os.setxattr(source / "d/file", "user.note", b"n")
    os.chown(source / "d", 5, 6)
    (source / "d").chmod(0o3751)
    (source / "setuid").touch()
    (source / "setuid").chmod(0o4755)
    os.mkfifo(source / "fifo", 0o640)
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (source / "link").symlink_to("/etc/passwd")
    os.utime(source / "d", ns=(5, 123_456_789))
    os.utime(source / "link", ns=(5, 7), follow_symlinks=False)
    copy_tree(source, target)
    for path in sorted(source.rglob("*")):
        ours, theirs = path.lstat(), (target / path.relative_to(source)).lstat()
        for fact in (
            "st_mode",
            "st_uid",
            "st_gid",
            "st_nlink",
            "st_size",
            "st_mtime_ns",
            "st_rdev",
        ):
            assert getattr(ours, fact) == getattr(theirs, fact), (path, fact)
    assert (target / "holes").read_bytes() == holes.read_bytes()
    assert (target / "holes").stat().st_blocks * 512 < 1 << 20
    assert os.getxattr(target / "d/e/same", "user.note") == b"n"


def test_a_layer_replaces_hides_and_never_writes_through_links(tmp_path: Path) -> None:
    target, layer, outside = tmp_path / "t", tmp_path / "l", tmp_path / "outside"
    for folder in (target / "dir/sub", target / "opaque", layer / "dir", layer / "opaque"):
        folder.mkdir(parents=True)
    outside.mkdir()
    (target / "away").symlink_to(outside)
    (target / "file").write_text("old")
    (target / "dir/kept").touch()
    (target / "opaque/old").touch()
    (target / "gone").mkdir()
    (target / "both").mkdir()
    (target / "both/old").touch()
    (layer / "away").mkdir()
    (layer / "away/in").write_text("in")
    (layer / "file").mkdir()
    (layer / "dir/.wh.sub").touch()
    (layer / "opaque/.wh..wh..opq").touch()
    (layer / "opaque/new").touch()
    os.mknod(layer / "gone", stat.S_IFCHR, 0)
    (layer / ".wh.both").touch()
    (layer / "both").mkdir()
    add_layer(layer, target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == [
        "away", "away/in", "both", "dir", "dir/kept", "file", "opaque", "opaque/new",
    ]  # fmt: skip
    assert list(outside.iterdir()) == [] and (target / "file").is_dir()


def test_a_full_disk_and_an_older_store_change_no_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,nr_inodes=4", "none", disk], check=True)
    try:
        for number in range(3):
            (disk / str(number)).touch()
        assert drivers.works(disk) and drivers.choose(disk) == "overlay"
        assert len(list(disk.iterdir())) == 3
    finally:
        subprocess.run(["umount", disk], check=True)
    (tmp_path / "layers/abc").mkdir(parents=True)
    monkeypatch.setattr(drivers, "works", lambda _: False)
    assert drivers.choose(tmp_path) == "overlay"
    assert (tmp_path / "driver").read_text() == "overlay"
