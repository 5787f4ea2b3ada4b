"""A backup's file: what was put in comes out, or it is refused before anything is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.node import archive

ABOUT = {"cluster_id": "c1", "made": 1}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "large").write_bytes(bytes(range(256)) * 10_000)
    (folder / "small").write_bytes(b"secret")
    (folder / "empty").write_bytes(b"")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("passphrase", ["", "correct horse"])
def test_what_was_saved_is_read_again(files: Path, tmp_path: Path, passphrase: str) -> None:
    saved, out = tmp_path / "saved", tmp_path / "out"
    out.mkdir()
    archive.write(saved, ABOUT, files, passphrase)
    assert archive.about(saved)["cluster_id"] == "c1"
    assert saved.stat().st_mode & 0o777 == 0o600
    assert b"secret" not in saved.read_bytes()
    said = archive.read(saved, out, passphrase)
    assert (said["cluster_id"], said["made"]) == ("c1", 1)
    assert contents(out) == contents(files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "out", "saved"]


def test_damage_at_any_place_and_a_wrong_passphrase_are_refused(
    files: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    archive.write(saved, ABOUT, files, "correct horse")
    good = saved.read_bytes()
    head = len(archive.MAGIC)
    broken = [good[:cut] for cut in (0, 10, head, head + 30, len(good) // 2, len(good) - 1)]
    places = (0, head + 2, good.index(b"c1"), len(good) // 3, len(good) - 1)
    broken += [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in places]
    piece = good.index(b"\n", head) + 1
    broken.append(good[:piece] + good[piece + archive.PIECE_BYTES + 20 :])  # one piece is missing
    broken.append(good + b"more")
    for number, content in enumerate(broken):
        saved.write_bytes(content)
        out = tmp_path / f"out{number}"
        out.mkdir()
        with pytest.raises(InvalidSpec, match=r"damaged|cut|not a backup"):
            archive.read(saved, out, "correct horse")
    saved.write_bytes(good)
    for passphrase, match in (("wrong", "passphrase is wrong"), ("", "--passphrase-file")):
        out = tmp_path / f"out{passphrase}x"
        out.mkdir()
        with pytest.raises(InvalidSpec, match=match):
            archive.read(saved, out, passphrase)
    with pytest.raises(InvalidSpec, match="No such file"):
        archive.read(tmp_path / "nothing", tmp_path)


def test_a_file_that_cannot_be_written_leaves_the_one_before(files: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    archive.write(saved, ABOUT, files)
    good = saved.read_bytes()
    with pytest.raises(OSError, match="No such file"):
        archive.write(saved, ABOUT, tmp_path / "nothing")
    assert saved.read_bytes() == good
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "saved"]
