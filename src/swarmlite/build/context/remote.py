"""Contexts that are elsewhere: behind an HTTP address, or in a git repository.

Raises InvalidSpec for what an address says, Unavailable for who does not answer as they should.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

from swarmlite.errors import FailedPrecondition, InvalidSpec, Unavailable

TIMEOUT_S = 60.0
"""Without a byte of an answer."""
GIT_S = 1800.0
_GIT = re.compile(r"(git|ssh)://|git@[\w.-]+:|github\.com/")
_HTTP = re.compile(r"https?://")
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def is_git(address: str) -> bool:
    """Whether a word names a repository: git@, git://, ssh://, or an address that ends in .git."""
    path = address.partition("#")[0]
    return bool(_GIT.match(address)) or (is_http(address) and path.endswith(".git"))


def is_http(address: str) -> bool:
    """Whether it is http:// or https://."""
    return bool(_HTTP.match(address))


@contextmanager
def download(address: str) -> Iterator[BinaryIO]:
    """What an address answers, read as it comes."""
    request = urllib.request.Request(address, headers={"User-Agent": "swarmlite"})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            raise Unavailable(
                f"{address}: the server answers {error.code} {error.reason}"
            ) from error
    except (urllib.error.URLError, HTTPException, ValueError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(f"{address} cannot be fetched: {reason}") from error
    with answer:
        yield _Whole(answer, address)  # type: ignore[misc]


class _Whole:
    """An answer that says so if it ends before its end."""

    def __init__(self, answer: BinaryIO, address: str) -> None:
        self._answer, self._address = answer, address
        length = getattr(answer, "length", None)
        self._left: int | None = length

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._answer.read(size)
        except (OSError, HTTPException) as error:
            raise Unavailable(f"{self._address} broke off: {error}") from error
        if self._left is not None:
            self._left -= len(data)
            if not data and size and self._left > 0:
                raise Unavailable(f"{self._address} broke off: {self._left} bytes are missing")
        return data


@contextmanager
def checkout(address: str) -> Iterator[Path]:
    """The folder of a repository: ADDRESS[#REF[:FOLDER]], without its .git; gone afterwards."""
    repository, _, fragment = address.partition("#")
    ref, _, folder = fragment.partition(":")
    if repository.startswith("github.com/"):
        repository = f"https://{repository}"
    if ref.startswith("-"):
        raise InvalidSpec(f"{address}: {ref[:40]!r} is not a branch, a tag or a commit")
    if shutil.which("git") is None:
        raise FailedPrecondition(f"{address}: git is not installed; give a folder or a tar")
    with tempfile.TemporaryDirectory(prefix="swarmlite-git-") as scratch:
        root = Path(scratch) / "context"
        root.mkdir()
        _fetch(root, repository, ref)
        shutil.rmtree(root / ".git")
        yield _inside(root, folder, address)


def _fetch(root: Path, repository: str, ref: str) -> None:
    _git(root, "init", "--quiet")
    _git(root, "remote", "add", "origin", repository)
    try:
        _git(root, "fetch", "--quiet", "--depth=1", "origin", ref or "HEAD")
        found = "FETCH_HEAD"
    except Unavailable as error:
        # Servers may refuse to be asked for a commit that no branch ends with, and plain web
        # servers can give nothing less than everything.
        if not _ID.fullmatch(ref) and "shallow" not in str(error):
            raise
        _git(root, "fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/heads/*", "HEAD")
        found = ref or "FETCH_HEAD"
    _git(root, "checkout", "--quiet", found)
    if (root / ".gitmodules").is_file():
        _git(root, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")


def _git(root: Path, *words: str) -> None:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        environment.pop(name, None)  # of a hook that builds: they are another repository's
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", *words]
    try:
        done = subprocess.run(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"git {words[0]} did not end within {GIT_S:.0f} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise Unavailable(f"git {words[0]} failed: {said[-1] if said else done.returncode}")


def _inside(root: Path, folder: str, address: str) -> Path:
    found = (root / folder.lstrip("/")).resolve()
    if not found.is_relative_to(root.resolve()) or not found.is_dir():
        raise InvalidSpec(f"{address}: the repository has no folder {folder[:80]!r}")
    return found
