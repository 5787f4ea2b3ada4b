"""The one place that runs git: a repository's files at a branch, tag or commit.

Whoever types `build` has git's own settings, keys and helpers (`Trust.OWN`). What a Dockerfile
names is fetched by the daemon, with nobody's settings and by known protocols only
(`Trust.NOBODYS`). Nothing of a repository is run: no hooks, and never a prompt.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from swarmlite.errors import FailedPrecondition, InvalidSpec, Unavailable

TIMEOUT_S = 1800.0
_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_OTHERS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
_LOOK_S = 0.2


class Trust(Enum):
    """Whose settings git reads."""

    OWN = "own"
    NOBODYS = "nobody's"


@dataclass(frozen=True)
class Address:
    """REPOSITORY[#REF[:FOLDER]]."""

    text: str
    repository: str
    ref: str
    folder: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises InvalidSpec."""
        repository, _, fragment = text.partition("#")
        ref, _, folder = fragment.partition(":")
        if ref.startswith("-"):
            raise InvalidSpec(f"{text[:80]}: {ref[:40]!r} is not a branch, a tag or a commit")
        if repository.startswith("github.com/"):
            repository = f"https://{repository}"
        return cls(text, repository, ref, folder)


class Checkout:
    """A working tree in the new folder `root`. Blocks; `stop` ends it from another thread.

    Raises FailedPrecondition where there is no git, Unavailable for what git says.
    """

    def __init__(self, address: Address, root: Path, trust: Trust) -> None:
        self._address, self._root = address, root
        self._program = shutil.which("git") or ""
        if not self._program:
            raise FailedPrecondition(
                f"{address.text}: git is not installed: install it, or give a tar"
            )
        self._environment = _environment(trust, root)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End what runs, and begin nothing more."""
        self._stopped.set()

    def fetch(self) -> str:
        """Have the files there; the commit that they are of."""
        ref = self._address.ref
        self._root.mkdir(mode=0o755, exist_ok=True)
        self._git("init", "--quiet")
        self._git("remote", "add", "origin", self._address.repository)
        try:
            self._git("fetch", "--quiet", "--depth=1", "origin", ref or "HEAD")
            found = "FETCH_HEAD"
        except Unavailable as error:
            # Servers may refuse to be asked for a commit that no branch ends with, and plain web
            # servers can give nothing less than everything.
            if not _ID.fullmatch(ref) and "shallow" not in str(error):
                raise
            heads = "+refs/heads/*:refs/heads/*"
            self._git("fetch", "--quiet", "--tags", "--update-head-ok", "origin", heads, "HEAD")
            found = ref or "FETCH_HEAD"
        self._git("checkout", "--quiet", found)
        commit = self._git("rev-parse", "HEAD").strip()
        if (self._root / ".gitmodules").is_file():
            self._git("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
        return commit

    def inside(self) -> Path:
        """The folder that the address names. Raises InvalidSpec."""
        folder = self._address.folder
        found = (self._root / folder.strip("/")).resolve()
        if not found.is_relative_to(self._root.resolve()) or not found.is_dir():
            raise InvalidSpec(f"{self._address.text}: the repository has no folder {folder[:80]!r}")
        return found

    def _git(self, *words: str) -> str:
        command = [self._program, "-c", "core.hooksPath=/dev/null"]
        command += ["-c", "advice.detachedHead=false", *words]
        if self._stopped.is_set():
            raise Unavailable(f"git {words[0]} was stopped")
        with subprocess.Popen(
            command,
            cwd=self._root,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # it starts programs of its own, which end with it
        ) as process:
            out, err = self._ended(process, words[0])
        if process.returncode:
            said = err.decode(errors="replace").strip().splitlines()
            raise Unavailable(f"git {words[0]} failed: {said[-1] if said else process.returncode}")
        return out.decode(errors="replace")

    def _ended(self, process: subprocess.Popen[bytes], verb: str) -> tuple[bytes, bytes]:
        left_s = TIMEOUT_S
        try:
            while True:
                try:
                    return process.communicate(timeout=_LOOK_S)
                except subprocess.TimeoutExpired:
                    left_s -= _LOOK_S
                if self._stopped.is_set():
                    raise Unavailable(f"git {verb} was stopped")
                if left_s <= 0:
                    raise Unavailable(f"git {verb} did not end within {TIMEOUT_S:.0f} s")
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # not reaped yet: it is still this one's
            process.communicate()
            raise


def _environment(trust: Trust, root: Path) -> dict[str, str]:
    fixed = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    if trust is Trust.OWN:
        # Those of a hook that builds are another repository's.
        return {**{k: v for k, v in os.environ.items() if k not in _OTHERS}, **fixed}
    return {
        **fixed,
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "GIT_ALLOW_PROTOCOL": "git:http:https:ssh",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "HOME": str(root),
    }
