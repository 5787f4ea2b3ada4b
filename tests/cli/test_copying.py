"""cp: Docker's rules of what goes where, and archives that cannot leave their directory."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from swarmlite.cli.container import archives
from swarmlite.cli.container.archives import ChunkReader
from swarmlite.cli.container.copyrules import Place, Target, in_container, parse, renamed, target
from swarmlite.errors import InvalidSpec

FILE, FOLDER = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("web:/etc/hosts", Place("web", "/etc/hosts")),
        ("web:rel", Place("web", "rel")),
        ("/a:b", Place("", "/a:b")),
        ("./a:b", Place("", "./a:b")),
        ("file", Place("", "file")),
        ("-", Place("", "-")),
    ],
)
def test_which_side_is_the_container(text: str, wanted: Place) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize(
    ("source", "mode", "destination", "there", "wanted"),
    [
        ("/src/f", FILE, "/dst/new", None, Target("/dst", "new")),
        ("/src/f", FILE, "/dst", FOLDER, Target("/dst", "f")),
        ("/src/f", FILE, "/dst/", FOLDER, Target("/dst", "f")),
        ("/src/f", FILE, "/dst/old", FILE, Target("/dst", "old")),
        ("/src/d", FOLDER, "/dst/new", None, Target("/dst", "new")),
        ("/src/d", FOLDER, "/dst/new/", None, Target("/dst", "new")),
        ("/src/d", FOLDER, "/dst", FOLDER, Target("/dst", "d")),
        ("/src/d/", FOLDER, "/dst", FOLDER, Target("/dst", "d")),
        ("/src/d/.", FOLDER, "/dst", FOLDER, Target("/dst", "")),
        ("f", FILE, "new", None, Target(".", "new")),
    ],
)
def test_where_it_goes(
    source: str, mode: int, destination: str, there: int | None, wanted: Target
) -> None:
    """The table of Docker's manual."""
    assert target(source, mode, destination, there) == wanted


@pytest.mark.parametrize(
    ("source", "mode", "destination", "there"),
    [
        ("/f", FILE, "/dst/", None),
        ("/f/", FILE, "/dst", FOLDER),
        ("/d", FOLDER, "/old", FILE),
        ("/f", FILE, "/old/", FILE),
    ],
)
def test_where_it_cannot_go(source: str, mode: int, destination: str, there: int | None) -> None:
    with pytest.raises(InvalidSpec):
        target(source, mode, destination, there)


def test_paths_in_a_container_are_absolute_and_keep_their_ending() -> None:
    paths = ["etc/hosts", "/a/../b", "a/", "a/.", ".", "/"]
    assert [in_container(p) for p in paths] == ["/etc/hosts", "/b", "/a/", "/a/.", "/.", "/"]


def test_members_get_the_new_root_s_name() -> None:
    assert renamed("d/x/y", "d", "new") == "new/x/y"
    assert renamed("d/", "d", "new") == "new"
    assert renamed("d", "d", "") == ""
    assert renamed("d/x", "d", "") == "x"
    assert renamed("./etc/x", "", "root") == "root/etc/x"


def tree(folder: Path) -> dict[str, tuple[str, Any]]:
    """What is below a folder: kind, and content or target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("folder", stat.S_IMODE(path.stat().st_mode))
        else:
            found[name] = (oct(stat.S_IMODE(path.stat().st_mode)), path.read_bytes())
    return found


def test_a_tree_goes_through_an_archive_unchanged(tmp_path: Path) -> None:
    """Modes, links, times, names beyond a hundred characters, and an empty folder."""
    source = tmp_path / "source"
    (source / "d" / ("n" * 120)).mkdir(parents=True)
    (source / "d" / "file").write_bytes(b"x" * 700_001)
    (source / "d" / "file").chmod(0o750)
    os.utime(source / "d" / "file", (1, 1_500_000_000))
    (source / "link").symlink_to("../outside")
    (source / "d" / "empty").mkdir(mode=0o700)
    goal = tmp_path / "goal"
    goal.mkdir()
    chunks = archives.packed(source, "root", follow=False, keep_owners=True)
    skipped: list[str] = []
    archives.unpack(
        ChunkReader(chunks),
        goal,
        lambda name: renamed(name, "root", "copy"),
        keep_owners=True,
        skipped=skipped.append,
    )
    assert tree(goal / "copy") == tree(source)
    assert (goal / "copy/d/file").stat().st_mtime == 1_500_000_000
    assert skipped == []


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> ChunkReader:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return ChunkReader([buffer.getvalue()])


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def unpacked(reader: ChunkReader, folder: Path, *, owners: bool = False) -> list[str]:
    skipped: list[str] = []
    archives.unpack(
        reader,
        folder,
        lambda name: renamed(name, "", ""),
        keep_owners=owners,
        skipped=skipped.append,
    )
    return skipped


def test_a_hostile_archive_stays_in_its_directory(tmp_path: Path) -> None:
    """Links, dots and absolute names lead nowhere else."""
    (tmp_path / "secret").write_text("host")
    goal = tmp_path / "goal"
    goal.mkdir()
    (goal / "tmp").mkdir()
    unpacked(
        archive(
            (member("out", tarfile.SYMTYPE, str(tmp_path)), b""),
            (member("up", tarfile.SYMTYPE, "../../../.."), b""),
        ),
        goal,
    )
    for name in ("out/secret", "up/secret", "../secret", f"{tmp_path}/secret"):
        try:
            unpacked(archive((member(name), b"evil")), goal)
        except (InvalidSpec, OSError):
            continue
    with pytest.raises((InvalidSpec, OSError)):
        unpacked(archive((member("hard", tarfile.LNKTYPE, f"{tmp_path}/secret"), b"")), goal)
    assert (tmp_path / "secret").read_text() == "host"


def test_devices_and_set_user_id_bits_are_not_brought_along(tmp_path: Path) -> None:
    """A program that is root's and set-user-id in a container would be one of the host's root."""
    skipped = unpacked(
        archive(
            (member("dev", tarfile.BLKTYPE), b""),
            (member("su", mode=0o4755), b"#!"),
            (member("folder", tarfile.DIRTYPE, mode=0o1777), b""),
        ),
        tmp_path,
    )
    assert skipped == ["dev"]
    assert stat.S_IMODE((tmp_path / "su").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o1777


def test_a_file_takes_the_place_of_a_file_and_of_no_directory(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hosts")
    unpacked(archive((member("link"), b"new")), tmp_path)
    assert not (tmp_path / "link").is_symlink()
    (tmp_path / "d").mkdir()
    with pytest.raises(InvalidSpec, match="cannot overwrite the directory d"):
        unpacked(archive((member("d"), b"x")), tmp_path)
    with pytest.raises(InvalidSpec, match="cannot overwrite the file link"):
        unpacked(archive((member("link", tarfile.DIRTYPE), b"")), tmp_path)


def test_an_archive_that_ends_early_is_damaged(tmp_path: Path) -> None:
    whole = b"".join(archives.packed(Path(__file__), "f", follow=False, keep_owners=False))
    with pytest.raises(InvalidSpec, match="damaged"):
        unpacked(ChunkReader([whole[:700]]), tmp_path)
