"""Files that commands write where the disk is full: one line that names them, nothing half-done."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts and namespaces")
FULL = "No space left on device"


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB with a file on it."""
    place = tmp_path / "full"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    (place / "there").write_text("before")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY a-small big /\n")
    (folder / "a-small").write_text("small")
    (folder / "big").write_bytes(os.urandom(200_000))
    return folder


def one_line(result: Any, name: Path) -> None:
    assert result.status == 1
    last = result.err.splitlines()[-1]
    assert last == f"{name}: {FULL}", result.err


@pytest.mark.parametrize("kind", ["tar", "oci", "docker", "local"])
@pytest.mark.parametrize("there", [False, True])
def test_an_output_of_a_build(host: Any, full: Path, context: Path, kind: str, there: bool) -> None:
    """What was there before stays, and what is new does not."""
    name = full if there and kind == "local" else full / ("there" if there else "out")
    result = host.cli("build", "-q", "-o", f"type={kind},dest={name}", str(context))
    one_line(result, name)
    (left,) = [path.name for path in full.iterdir() if path.name != "a-small"]
    assert left == "there" and (full / "there").read_text() == "before"
    assert not there or kind != "local" or (full / "a-small").read_text() == "small"
    host.ok("build", "-q", str(context))  # nothing of it is locked


def test_an_output_beside_one_that_cannot_be_made(host: Any, full: Path, context: Path) -> None:
    place = full / "nowhere/x.tar"
    outputs = ("-o", str(full / "out"), "-o", f"type=tar,dest={place}")
    result = host.cli("build", "-q", *outputs, str(context))
    assert result.err == f"{place}: No such file or directory\n"
    assert [path.name for path in full.iterdir()] == ["there"]


def test_archives_of_images_and_containers(host: Any, full: Path, context: Path) -> None:
    host.ok("build", "-q", "-t", "filling:1", str(context))
    one_line(host.cli("image", "save", "-o", str(full / "a.tar"), "filling:1"), full / "a.tar")
    for kind in ("oci-archive", "docker-archive", "oci"):
        copied = host.cli("image", "copy", "-q", "node:filling:1", f"{kind}:{full}/b")
        assert copied.err == f"no space left on the disk of {full}/b\n"
    container = host.ok("create", "filling:1", "x").strip()
    one_line(host.cli("export", "-o", str(full / "there"), container), full / "there")
    assert [path.name for path in full.iterdir()] == ["there"]
    assert (full / "there").read_text() == "before"
    with (full / "there").open("ab") as stream:
        saving = host.open("save", "filling:1", stdout=stream, stderr=subprocess.PIPE)
        said = saving.communicate(timeout=60)[1].decode()
    assert (saving.returncode, said) == (1, f"standard output: {FULL}\n")
    host.ok("rm", container)
    host.ok("rmi", "filling:1")


def test_files_out_of_a_container(host: Any, full: Path) -> None:
    """A file is there whole or as it was before."""
    container = host.ok("create", host.image, "true").strip()
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("there")
        info.size = 200_000
        archive.addfile(info, io.BytesIO(os.urandom(200_000)))
    host.ok("cp", "-", f"{container}:/", stdin=tar.getvalue())
    result = host.cli("cp", f"{container}:/there", str(full))
    assert result.status == 1 and FULL in result.err and result.err.count("\n") == 1
    assert [path.name for path in full.iterdir()] == ["there"]
    assert (full / "there").read_text() == "before"
    host.ok("rm", container)


@pytest.mark.parametrize("words", [["--help"], ["version"], ["ps"], ["image", "ls"]])
def test_a_listing(host: Any, words: list[str]) -> None:
    with Path("/dev/full").open("wb") as stream:
        command = host.open(*words, stdout=stream, stderr=subprocess.PIPE)
        said = command.communicate(timeout=60)[1].decode()
    assert (command.returncode, said) == (1, f"standard output: {FULL}\n")
