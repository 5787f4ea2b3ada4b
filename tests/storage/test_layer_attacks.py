"""Layers that mean harm: contained or refused, and nothing outside of the layer changes."""

import asyncio
import gzip
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_world import Tar, needs_root, snapshot, unpack

from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Limits
from swarmlite.storage.images.unpack.errors import BadLayer, TooBig
from swarmlite.storage.images.unpack.extract import OPAQUE_XATTR, Extractor
from swarmlite.storage.images.unpack.streams import FilePart
from swarmlite.storage.images.unpack.tar import TarReader

pytestmark = needs_root
CAPABILITY = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


async def test_names_that_leave_the_layer(store: ImageStore, outside: Path) -> None:
    for name in ("../outside/x", "a/../../outside/x", "../../../../tmp/x"):
        with pytest.raises(InvalidSpec, match="points outside of the layer"):
            await unpack(store, Tar().add(name, b"x"))
    root = await unpack(store, Tar().add(f"{outside}/secret", b"x").add("a/../b", b"y"))
    assert (root / str(outside)[1:] / "secret").read_bytes() == b"x"
    assert (root / "b").read_bytes() == b"y"


async def test_symlinks_never_lead_out(store: ImageStore, outside: Path) -> None:
    tar = Tar().link("abs", str(outside)).link("rel", "../../../../outside").link("up", "..")
    tar.link("config", "/etc").add("abs/secret", b"1").add("rel/secret", b"2").add("up/top", b"3")
    tar.add("config/passwd", b"4").link("chain0", "/").link("chain1", "chain0/../..")
    tar.link("chain2", "chain1/" + "../" * 30 + str(outside)).add("chain2/secret", b"5")
    root = await unpack(store, tar)
    assert (root / "top").read_bytes() == b"3"
    assert (root / "etc/passwd").read_bytes() == b"4"
    assert Path("/etc/passwd").read_bytes() != b"4"


async def test_the_long_symlink_chain_that_defeats_path_checks(
    store: ImageStore, outside: Path
) -> None:
    tar, deep, steps = Tar(), "d" * 200, "abcdefghijklmnop"
    at = ""
    for step in steps:
        tar.dir(f"{at}{deep}").link(f"{at}{step}", deep)
        at += f"{step}/"
    tar.link(f"{at}{'l' * 200}", "../" * len(steps))
    tar.link("escape", f"{at}{'l' * 200}/../../../../../..{outside}")
    tar.add("escape/secret", b"owned")
    await unpack(store, tar)


async def test_a_link_is_replaced_and_not_written_through(store: ImageStore, outside: Path) -> None:
    tar = Tar().link("f", f"{outside}/secret").add("f", b"mine").link("d", str(outside)).dir("d")
    tar.add("d/secret", b"mine")
    root = await unpack(store, tar)
    assert (root / "f").read_bytes() == b"mine" and not (root / "f").is_symlink()
    assert (root / "d/secret").read_bytes() == b"mine" and not (root / "d").is_symlink()


async def test_hard_links_stay_in_their_layer(store: ImageStore, outside: Path) -> None:
    for target in (f"{outside}/secret", "/etc/passwd", "missing", "dir", "s/secret"):
        tar = Tar().dir("dir").link("s", str(outside)).hard("h", target)
        with pytest.raises(InvalidSpec, match="hard link"):
            await unpack(store, tar)
    with pytest.raises(InvalidSpec, match="outside of the layer"):
        await unpack(store, Tar().hard("h", "../../outside/secret"))
    tar = Tar().link("s", f"{outside}/secret").hard("h", "s").add("h2", b"x").hard("h3", "h2")
    root = await unpack(store, tar.add("h", b"written"))
    assert (root / "s").readlink() == outside / "secret"
    assert (root / "h2").stat().st_ino == (root / "h3").stat().st_ino


async def test_devices_modes_and_attributes(store: ImageStore) -> None:
    tar = Tar().add("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    tar.add("fifo", type=tarfile.FIFOTYPE, mode=0o600).add("su", b"#!", mode=0o4755, uid=7, gid=8)
    tar.add("cap", b"x", pax_headers={"SCHILY.xattr.security.capability": CAPABILITY})
    tar.add("user", b"x", pax_headers={"SCHILY.xattr.security.selinux": "label"})
    root = await unpack(store, tar)
    assert os.major((root / "null").stat().st_rdev) == 1
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode)
    status = (root / "su").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o4755, 7, 8)
    assert os.getxattr(root / "cap", "security.capability") == CAPABILITY.encode()
    assert "security.selinux" not in os.listxattr(root / "user")


@pytest.mark.parametrize(
    "name", ["trusted.overlay.opaque", "trusted.overlay.redirect", "trusted.x"]
)
async def test_overlays_own_attributes_are_refused(store: ImageStore, name: str) -> None:
    tar = Tar().dir("d", pax_headers={f"SCHILY.xattr.{name}": "y"})
    with pytest.raises(InvalidSpec, match="carries the attribute"):
        await unpack(store, tar)


async def test_whiteouts_become_overlays_own(store: ImageStore) -> None:
    tar = Tar().add("d/.wh.gone", b"").add("o/.wh..wh..opq", b"").add("o/kept", b"1")
    tar.add(".wh.both", b"").dir("both").add("both/new", b"2").add("file", b"3").add(
        ".wh.file", b""
    )
    root = await unpack(store, tar)
    assert is_whiteout(root / "d/gone")
    assert os.getxattr(root / "o", OPAQUE_XATTR) == b"y"
    assert os.getxattr(root / "both", OPAQUE_XATTR) == b"y"
    assert (root / "both/new").read_bytes() == b"2" and (root / "file").read_bytes() == b"3"
    assert not [path for path in root.rglob("*") if path.name.startswith(".wh.")]
    assert not list((await unpack(store, Tar().add(".wh.x", b""), base=True)).iterdir())


@pytest.mark.parametrize(
    "name", [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.a/../../b", ".wh.a/b", "x/.wh.y/z"]
)
async def test_crooked_whiteouts_are_refused(store: ImageStore, name: str, outside: Path) -> None:
    with pytest.raises(InvalidSpec, match="is refused"):
        await unpack(store, Tar().dir("a").add(name, b""))


async def test_a_whiteout_below_a_link_stays_inside(store: ImageStore, outside: Path) -> None:
    root = await unpack(store, Tar().link("l", str(outside)).add("l/.wh.secret", b""))
    assert is_whiteout(root / str(outside)[1:] / "secret")
    with pytest.raises(InvalidSpec, match="character device 0:0"):
        await unpack(store, Tar().add("w", type=tarfile.CHRTYPE, devmajor=0, devminor=0))


async def test_a_name_may_come_twice_and_change_its_kind(store: ImageStore) -> None:
    tar = Tar().dir("x").add("x/in", b"1").add("x", b"file").dir("x").add("x/again", b"2")
    tar.link("y", "x").dir("y").add("y/z", b"3").dir("z", mode=0o700).dir("z", mode=0o711)
    root = await unpack(store, tar)
    assert [path.name for path in (root / "x").iterdir()] == ["again"]
    assert (root / "y/z").read_bytes() == b"3"
    assert (root / "z").stat().st_mode & 0o777 == 0o711


async def test_names_too_long_or_not_utf8(store: ImageStore) -> None:
    for name in ("n" * 300, "/".join(["p" * 100] * 50), "d/" * 500 + "f"):
        with pytest.raises(InvalidSpec, match="is refused"):
            await unpack(store, Tar().add(name, b""))
    odd = b"caf\xe9\n".decode("utf-8", "surrogateescape")
    root = await unpack(store, Tar().add(odd, b"x"))
    assert [os.fsencode(path.name) for path in root.iterdir()] == [b"caf\xe9\n"]
    with pytest.raises(InvalidSpec) as caught:
        await unpack(store, Tar().hard(odd, "missing"))
    assert "\n" not in str(caught.value)


async def test_bombs_are_bounded(tmp_path: Path) -> None:
    limits = Limits(entries=100, bytes=8 << 20, memory_bytes=256 << 20)
    store = ImageStore(tmp_path / "images", limits=limits)
    many = Tar()
    for number in range(200):
        many.add(f"f{number}", b"")
    deep = Tar().add("/".join(["d"] * 150) + "/f", b"")
    large = gzip.compress(Tar().add("zeros", b"\0" * (32 << 20)).bytes())
    nested = gzip.compress(b"\0" * (64 << 20))
    header = tarfile.TarInfo("sparse")
    header.size, header.type = 1 << 40, tarfile.GNUTYPE_SPARSE
    huge_pax = tarfile.TarInfo("pax")
    huge_pax.size, huge_pax.type = 1 << 33, tarfile.XHDTYPE
    endless = tarfile.TarInfo("endless")
    endless.size = 1 << 40
    for bomb in (many, deep, large, nested):
        with pytest.raises(ResourceExhausted, match="is refused"):
            await unpack(store, bomb)
    for info in (header, huge_pax, endless):
        with pytest.raises((ResourceExhausted, InvalidSpec), match="is refused"):
            await unpack(store, info.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(ResourceExhausted, match="no space left"):
        await unpack(
            ImageStore(tmp_path / "full", limits=Limits(free_bytes=1 << 62)),
            Tar().add("f", b"x"),
        )


async def test_damaged_archives(store: ImageStore) -> None:
    good = Tar().add("f", b"x" * 2000).bytes()
    wrong = bytearray(good)
    wrong[5] ^= 1
    for bad in (good[:700], bytes(wrong), b"not a tar" * 100, gzip.compress(good)[:-20]):
        with pytest.raises(InvalidSpec, match="is refused"):
            await unpack(store, bad)
    negative = bytearray(tarfile.TarInfo("n").tobuf())
    negative[124:136] = b"\xff" * 12
    checksum = sum(negative[:148]) + 8 * 32 + sum(negative[156:])
    negative[148:156] = b"%06o\0 " % checksum
    with pytest.raises(InvalidSpec, match="negative"):
        await unpack(store, bytes(negative))


async def test_cancelled_unpacking_ends_its_process(store: ImageStore) -> None:
    blob = Tar().add("zeros", os.urandom(1 << 20) * 60).bytes()
    task = asyncio.create_task(unpack(store, blob))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(200):
        if not [path for path in (store.root / "tmp").iterdir() if path.is_dir()]:
            break
        await asyncio.sleep(0.02)
    assert [path.name for path in (store.root / "tmp").iterdir()] == ["test.tar"]


async def test_the_environment_reaches_no_unpacker(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("LD_PRELOAD", "/nonexistent.so")
    monkeypatch.chdir(tmp_path)
    assert (await unpack(store, Tar().add("f", b"x")) / "f").exists()


NAMES = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", ".wh.a", ".wh.b", ".wh..wh..opq", ".wh..", "/"]),
    min_size=1,
    max_size=5,
).map("/".join)
MEMBERS = st.lists(
    st.tuples(st.sampled_from(["file", "dir", "link", "hard", "fifo"]), NAMES, NAMES), max_size=12
)


@settings(max_examples=100, deadline=None)
@given(MEMBERS)
def test_no_layer_touches_anything_outside(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, str, str]]
) -> None:
    base = tmp_path_factory.mktemp("layer")
    (base / "a").write_text("untouched")
    (base / "root").mkdir()
    before = snapshot(base)
    tar = Tar()
    for kind, name, target in members:
        if kind == "link":
            tar.link(name or "x", target)
        elif kind == "hard":
            tar.hard(name or "x", target)
        elif kind == "dir":
            tar.dir(name or "x")
        else:
            tar.add(name or "x", b"z" if kind == "file" else None,
                    **({} if kind == "file" else {"type": tarfile.FIFOTYPE}))  # fmt: skip
    (base / "layer.tar").write_bytes(tar.bytes())
    root = os.open(base / "root", os.O_RDONLY | os.O_DIRECTORY)
    blob = os.open(base / "layer.tar", os.O_RDONLY)
    try:
        Extractor(root, Limits(free_bytes=0)).run(TarReader(FilePart(blob)))
    except (BadLayer, TooBig):
        pass
    finally:
        os.close(root)
        os.close(blob)
    (base / "layer.tar").unlink()
    after = {name: facts for name, facts in snapshot(base).items() if not name.startswith("root")}
    assert {name: facts for name, facts in before.items() if name != "root"} == after


def test_nothing_of_a_stream_is_read_ahead_without_bound() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert 0 <= size <= 1 << 20
            return b"\0" * size

    assert list(TarReader(Endless())) == []


def test_a_tar_may_end_without_the_padding_of_its_last_file() -> None:
    """Docker's command sends such contexts, where the Dockerfile is outside of them."""
    info = tarfile.TarInfo("Dockerfile")
    info.size = 5
    reader = TarReader(io.BytesIO(info.tobuf() + b"FROM "))
    assert [(member.name, b"".join(reader.data())) for member in reader] == [
        ("Dockerfile", b"FROM ")
    ]
    cut = TarReader(io.BytesIO(info.tobuf() + b"FRO"))
    with pytest.raises(BadLayer, match="middle of a member"):
        list(cut)


async def test_files_have_their_owners_and_modes_whatever_their_directory_hands_down(
    store: ImageStore,
) -> None:
    """setgid gives a directory's group to what is made in it, a default ACL other modes."""
    tar = Tar().dir("g", mode=0o2775, gid=7).add("g/file", b"x", mode=0o664)
    tar.add("g/sgid", b"x", mode=0o2755).add("plain", b"x", mode=0o666)
    entries = ((1, 7), (4, 0), (0x20, 0))  # the owner all, group and others nothing
    words = [word.to_bytes(2, "little") for entry in entries for word in entry]
    ids = [*zip(words[::2], words[1::2], strict=True)]
    acl = b"\2\0\0\0" + b"".join(tag + mode + b"\xff" * 4 for tag, mode in ids)
    text = acl.decode("latin-1").encode("utf-8", "surrogateescape").decode("utf-8")
    tar.dir("a", pax_headers={"SCHILY.xattr.system.posix_acl_default": text})
    tar.add("a/file", b"x", mode=0o644)
    root = await unpack(store, tar)
    found = {
        name: (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode))
        for name in ("g/file", "g/sgid", "plain", "a/file")
        if (path := root / name)
    }
    assert found == {
        "g/file": (0, 0o664), "g/sgid": (0, 0o2755), "plain": (0, 0o666), "a/file": (0, 0o644)
    }  # fmt: skip
