"""Contexts of every kind as the tars that a builder is sent."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from swarmlite.build.context.packing import CHUNK_BYTES, packed
from swarmlite.build.context.patterns import Patterns
from swarmlite.build.context.sources import Source, Sources
from swarmlite.errors import InvalidSpec, Unavailable


def members(chunks: Iterator[bytes]) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        return {member.name: member for member in tar}


def opened(context: str, file: str = "", stdin: bytes = b"") -> tuple[Source, dict[str, object]]:
    with Sources(io.BytesIO(stdin), pytest.fail) as sources:
        source = sources.main(context, file)
        data = b"".join(source.chunks)
    if not data:
        return source, {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return source, {member.name: member for member in tar}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    made.mkdir()
    (made / "Dockerfile").write_text("FROM scratch\n")
    (made / "file").write_text("content")
    return made


def a_tar(**files: str) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return found.getvalue()


# a folder's tar
def test_modes_links_and_times_are_kept_and_owners_are_not(folder: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\n")
    if os.geteuid() == 0:
        os.chown(folder / "run.sh", 1000, 1000)
    (folder / "run.sh").chmod(0o4755)
    os.utime(folder / "run.sh", (1_000_000_000.75, 1_000_000_000.75))
    (folder / "sub").mkdir(mode=0o711)
    os.link(folder / "file", folder / "sub" / "linked")
    (folder / "out").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    found = members(packed(folder, Patterns([]), pytest.fail))
    assert list(found) == sorted(found)
    assert found["run.sh"].mode == 0o4755 and found["run.sh"].mtime == 1_000_000_000
    assert (found["run.sh"].uid, found["run.sh"].gid, found["run.sh"].uname) == (0, 0, "")
    assert found["sub"].isdir() and found["sub"].mode == 0o711
    assert found["sub/linked"].islnk() and found["sub/linked"].linkname == "file"
    assert found["out"].issym() and found["out"].linkname == "/etc/passwd"
    assert found["pipe"].isfifo()


def test_names_of_any_bytes_and_any_length_come_through(folder: Path) -> None:
    strange = os.fsdecode(b"latin-\xe9")
    long = "/".join(["d" * 200] * 3)
    (folder / strange).write_text("x")
    (folder / long).mkdir(parents=True)
    found = members(packed(folder, Patterns([]), pytest.fail))
    assert strange in found and long in found


def test_sockets_are_left_out_with_a_line(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        said: list[str] = []
        found = members(packed(folder, Patterns([]), said.append))
    assert "s" not in found
    assert said == ["context: s is left out: a socket cannot be in an image"]


def test_what_cannot_be_read_is_named(folder: Path) -> None:
    class Gone(Patterns):
        def judge(self, path: str, above: object = None) -> object:  # type: ignore[override]
            if path == "file":  # between the listing and the reading
                (folder / "file").unlink()
                (folder / "file").symlink_to("/dev/null")
            return super().judge(path, None)

    chunks = packed(folder, Gone([]), pytest.fail)
    assert members(chunks)["file"].issym()  # it is what it was when it was asked
    with pytest.raises(InvalidSpec, match=r"context: \. cannot be read: No such file"):
        b"".join(packed(folder / "gone", Patterns([]), pytest.fail))


def test_a_file_that_shrinks_ends_the_build_in_words(folder: Path) -> None:
    big = folder / "big"
    big.write_bytes(b"x" * (3 * CHUNK_BYTES))
    chunks = packed(folder, Patterns([]), pytest.fail)
    next(chunks)
    os.truncate(big, CHUNK_BYTES)
    with pytest.raises(InvalidSpec, match="context: big became shorter while it was read"):
        b"".join(chunks)


def test_a_huge_file_is_never_held_in_memory(folder: Path) -> None:
    with (folder / "huge").open("wb") as stream:
        stream.truncate(9 << 30)  # more than a plain tar's header can say
    chunks = packed(folder, Patterns([]), pytest.fail)
    sizes = [len(next(chunks)) for _ in range(200)]
    assert max(sizes) <= 2 * CHUNK_BYTES
    header = next(packed(folder, Patterns(["[!h]*", "*", "!huge"]), pytest.fail))
    with tarfile.open(fileobj=io.BytesIO(header)) as tar:
        member = tar.next()
    assert member is not None and member.size == 9 << 30


@pytest.mark.skipif(os.geteuid() != 0, reason="file capabilities are root's to give")
def test_file_capabilities_are_kept(folder: Path) -> None:
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    try:
        os.setxattr(folder / "file", "security.capability", value)
    except OSError as error:
        pytest.skip(f"no file capabilities here: {error.strerror}")
    headers = members(packed(folder, Patterns([]), pytest.fail))["file"].pax_headers
    text = headers["SCHILY.xattr.security.capability"]
    assert text.encode("utf-8", "surrogateescape") == value


# what the words mean
def test_the_dockerfile_is_found_beside_here_and_on_standard_input(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened(str(folder))[0].inline == b"FROM scratch\n"
    outside = tmp_path / "Other"
    outside.write_text("FROM other\n")
    monkeypatch.chdir(tmp_path)
    source, files = opened("context", "Other")
    assert source.inline == b"FROM other\n" and source.name == "Other" and "Other" not in files
    source, files = opened("context", "-", b"FROM typed\n")
    assert source.inline == b"FROM typed\n" and "file" in files


def test_a_named_dockerfile_s_own_ignore_file_comes_first(folder: Path) -> None:
    (folder / ".dockerignore").write_text("file\n")
    assert "file" not in opened(str(folder))[1]
    (folder / "Dockerfile.dockerignore").write_text("Dockerfile*\n.dockerignore\n")
    source, files = opened(str(folder))
    assert set(files) == {"file"} and source.inline == b"FROM scratch\n"


@pytest.mark.parametrize("packer", [bytes, gzip.compress])
def test_a_tar_on_standard_input_goes_on_as_it_is(packer: object) -> None:
    data = packer(a_tar(Dockerfile="FROM scratch\n", other="FROM x\n"))  # type: ignore[operator]
    source, files = opened("-", "", data)
    assert source.inline is None and source.dockerfile == "Dockerfile"
    assert set(files) == {"Dockerfile", "other"}
    assert opened("-", "other", data)[0].dockerfile == "other"


def test_a_dockerfile_as_the_context_has_nothing_beside_it() -> None:
    source, files = opened("-", "", b"FROM scratch\nLABEL a=b\n")
    assert source.inline == b"FROM scratch\nLABEL a=b\n" and not files
    with pytest.raises(InvalidSpec, match="is a Dockerfile, and --file names another"):
        opened("-", "other", b"FROM scratch\n")


@pytest.mark.parametrize(
    ("context", "file", "expected"),
    [
        ("-", "-", "cannot both be standard input"),
        ("", "", "the context is empty"),
        ("/nowhere", "", "the context /nowhere does not exist: expected a folder"),
        (__file__, "", "is not a folder; a tar is given by: - < TAR"),
        ("-", "", "standard input is empty: expected a tar or a Dockerfile"),
        (str(Path(__file__).parent), "", "Dockerfile cannot be read: No such file or directory;"),
        (str(Path(__file__).parent), "/", "cannot be read: Is a directory"),
    ],
)
def test_what_is_no_context_is_said(context: str, file: str, expected: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        opened(context, file)
    assert expected in str(error.value)


# elsewhere
class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        if self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "10000")
            self.end_headers()
            self.wfile.write(b"FROM scratch\n")
            self.close_connection = True
            return
        super().do_GET()


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    (folder / "context.tar.gz").write_bytes(gzip.compress(a_tar(Dockerfile="FROM w\n", f="x")))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def test_an_address_is_a_tar_or_a_dockerfile(web: str) -> None:
    source, files = opened(f"{web}/context.tar.gz")
    assert source.dockerfile == "Dockerfile" and set(files) == {"Dockerfile", "f"}
    assert opened(f"{web}/Dockerfile")[0].inline == b"FROM scratch\n"
    with pytest.raises(Unavailable, match="/none: the server answers 404"):
        opened(f"{web}/none")
    with pytest.raises(Unavailable, match="/short broke off: 9987 bytes are missing"):
        opened(f"{web}/short")
    with pytest.raises(Unavailable, match=r"127.0.0.1:1/x cannot be fetched: .*refused"):
        opened("http://127.0.0.1:1/x")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_repository_is_fetched_by_branch_commit_and_folder(
    folder: Path, tmp_path: Path, web: str
) -> None:
    def git(*words: str, cwd: Path = folder) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
        done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    (folder / "context.tar.gz").unlink()
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    first = git("rev-parse", "HEAD")
    (folder / "app").mkdir()
    (folder / "app" / "Dockerfile").write_text("FROM app\n")
    (folder / "app" / ".dockerignore").write_text(".dockerignore\n")
    git("checkout", "-q", "-b", "other")
    git("add", ".")
    git("commit", "-q", "-m", "two")
    git("checkout", "-q", "main")
    served = folder / "repository.git"
    git("clone", "-q", "--bare", str(folder), str(served))
    git("update-server-info", cwd=served)
    address = f"{web}/repository.git"
    source, files = opened(f"{address}#other:app")
    assert source.inline == b"FROM app\n" and set(files) == {"Dockerfile"}
    source, files = opened(f"{address}#{first}")
    assert "file" in files and not any(name.startswith(".git") for name in files)
    with pytest.raises(InvalidSpec, match=r"the repository has no folder '\.\./\.\.'"):
        opened(f"{address}#other:../..")
    with pytest.raises(Unavailable, match=r"git fetch failed: .*gone"):
        opened(f"{address}#gone")
    with pytest.raises(InvalidSpec, match="is not a branch, a tag or a commit"):
        opened(f"{address}#--upload-pack=x")


def test_without_git_a_repository_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Exception, match=r"x\.git: git is not installed: install it, or give a tar"):
        opened("https://example.org/x.git")
