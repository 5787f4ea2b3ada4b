"""Volumes: names, options, removal, and the image's content at first use."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from image_world import needs_root, snapshot

from swarmlite.errors import AlreadyExists, FailedPrecondition, InvalidSpec, NotFound
from swarmlite.storage.leases import Leases
from swarmlite.storage.volumes import mounter
from swarmlite.storage.volumes.options import MountCall, mount_call
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
    for options, message in (
        ({"type": "tmpfs"}, "lack 'device'"),
        ({"o": "ro"}, "lack 'type'"),
        ({"device": "tmpfs", "o": "ro"}, "lack 'type'"),
        ({"type": "none", "o": "bind", "device": "relative"}, "absolute path"),
        ({"type": "tmpfs", "device": "tmpfs", "o": "size=1,\0"}, "hold a NUL"),
        ({"type": "tmpfs", "device": "tmpfs", "o": "x" * 5000}, "longer than 4095"),
    ):
        with pytest.raises(InvalidSpec, match=message):
            volumes.create("x", options=options)
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


@pytest.mark.parametrize(
    ("options", "call"),
    [
        (("nfs", ":/export", "addr=localhost,rw,nfsvers=4"),
         MountCall(":/export", "nfs", 0, "addr=127.0.0.1,nfsvers=4")),
        (("nfs4", "localhost:/export", "ro,soft"),
         MountCall("localhost:/export", "nfs4", 1, "soft,addr=127.0.0.1")),
        (("nfs", "[::1]:/export", ""), MountCall("[::1]:/export", "nfs", 0, "addr=::1")),
        (("cifs", "//127.0.0.1/share", "username=u,password=p=q"),
         MountCall("//127.0.0.1/share", "cifs", 0, "username=u,password=p=q,addr=127.0.0.1")),
        (("tmpfs", "tmpfs", "size=1m,uid=7,noexec,nosuid"),
         MountCall("tmpfs", "tmpfs", 10, "size=1m,uid=7")),
        (("none", "/srv", "bind"), MountCall("/srv", "none", 4096)),
        (("none", "/srv", "rbind,ro,noexec,rslave"),
         MountCall("/srv", "none", 4096 | 16384, "", 4096 | 1 | 8, 1 << 19 | 16384)),
        (("ext4", "/dev/sdz", "defaults,nosuid,suid"), MountCall("/dev/sdz", "ext4")),
    ],
)  # fmt: skip
def test_dockers_options_as_the_kernel_takes_them(
    options: tuple[str, str, str], call: MountCall
) -> None:
    kind, device, o = options
    assert mount_call({"type": kind, "device": device, "o": o}) == call


def test_a_host_that_has_no_address_is_said(volumes: VolumeStore) -> None:
    options = {"type": "nfs", "device": ":/x", "o": "addr=nothing.invalid"}
    volumes.create("v", options=options)
    with pytest.raises(FailedPrecondition, match=r"the host 'nothing\.invalid' cannot be resolved"):
        volumes.mount("v")


def test_a_file_system_that_the_kernel_lacks_is_said(volumes: VolumeStore) -> None:
    for kind in ("nosuchfs", "lustre"):
        volumes.create(kind, options={"type": kind, "device": "/nowhere", "o": ""})
        with pytest.raises(FailedPrecondition, match=rf"no file system '{kind}'"):
            volumes.mount(kind)


def test_tmpfs_and_read_only_binds_are_what_was_asked(volumes: VolumeStore, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    volumes.create("t", options={"type": "tmpfs", "device": "tmpfs", "o": "size=64k,mode=1770"})
    bind = {"type": "none", "device": str(tmp_path / "host"), "o": "bind,ro"}
    volumes.create("b", options=bind)
    try:
        data = volumes.mount("t")
        assert data.stat().st_mode & 0o7777 == 0o1770
        with pytest.raises(OSError, match="No space"):
            (data / "file").write_bytes(bytes(200_000))
        with pytest.raises(OSError, match="Read-only"):
            (volumes.mount("b") / "file").touch()
        assert volumes.size("t") == 0
    finally:
        volumes.remove("t")
        volumes.remove("b")
    assert (tmp_path / "host").is_dir()


def test_mount_options_longer_than_255_characters(volumes: VolumeStore, tmp_path: Path) -> None:
    lowers = []
    for number in range(6):
        lower = tmp_path / (f"{number}-" + "long" * 30)
        lower.mkdir()
        (lower / f"file{number}").touch()
        lowers.append(str(lower))
    o = "lowerdir=" + ":".join(lowers)
    assert len(o) > 700
    volumes.create("v", options={"type": "overlay", "device": "overlay", "o": o})
    try:
        assert len(list(volumes.mount("v").iterdir())) == 6
    finally:
        volumes.remove("v")


def test_a_mount_that_never_answers_is_given_up(tmp_path: Path) -> None:
    call = MountCall("tmpfs", "tmpfs").as_dict()
    with pytest.raises(TimeoutError, match="no answer within"):
        mounter.mount_elsewhere(call, str(tmp_path / "missing"), timeout_s=0.0)
    with pytest.raises(OSError, match="No such file"):
        mounter.mount_elsewhere(call, str(tmp_path / "missing"))
    mounter.mount_elsewhere(call, str(tmp_path))
    mounter.umount(str(tmp_path))


def test_a_volume_in_use_stays_until_its_last_user_is_gone(tmp_path: Path) -> None:
    leases = Leases(tmp_path / "leases")
    volumes = VolumeStore(tmp_path / "volumes", leases=leases)
    volumes.create("db", owner="container/0123456789abcdef")
    volumes.create("db", owner="container/2")
    for owner, named in (("container/0123456789abcdef", "0123456789ab"), ("container/2", "2")):
        with pytest.raises(FailedPrecondition, match=f"in use by container {named}"):
            volumes.remove("db", force=True)
        assert volumes.prune(named=True) == ([], 0)
        leases.release(owner)
    (volumes.get("db").mountpoint / "file").write_bytes(bytes(1000))
    assert volumes.prune() == ([], 0)
    assert volumes.prune(named=True) == (["db"], 1000)
    leases.close()


def test_pruning_takes_anonymous_volumes_by_label(volumes: VolumeStore) -> None:
    plain, labelled = volumes.create(), volumes.create(labels={"keep": "1"})
    volumes.create("named")
    assert plain.anonymous and not volumes.get("named").anonymous
    gone, _ = volumes.prune(labels=lambda found: "keep" not in found, in_use=())
    assert gone == [plain.name]
    assert volumes.prune(in_use={labelled.name}) == ([], 0)


def test_extended_attributes_and_modes_are_copied(volumes: VolumeStore, image: list[Path]) -> None:
    os.setxattr(image[1] / "data/kept", "user.note", b"x")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(image[1] / "data/kept", "security.capability", capability)
    (image[1] / "data/sub").chmod(0o2775)
    data = volumes.create("v").mountpoint
    assert volumes.copy_up("v", image, "/data")
    assert os.getxattr(data / "kept", "user.note") == b"x"
    assert os.getxattr(data / "kept", "security.capability") == capability
    assert (data / "sub").stat().st_mode & 0o7777 == 0o2775


def test_a_creation_that_was_cut_short_leaves_nothing_and_data_stays(tmp_path: Path) -> None:
    root = tmp_path / "volumes"
    for name in ("unborn", "torn", "lost"):
        (root / name / "_data").mkdir(parents=True)
    (root / "torn/.volume.json.new").write_text("{")
    (root / "lost/_data/file").write_text("x")
    volumes = VolumeStore(root)
    assert [path.name for path in root.iterdir()] == ["lost"]
    assert volumes.list() == []
    assert (volumes.create("lost").mountpoint / "file").read_text() == "x"
