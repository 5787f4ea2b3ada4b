"""Layers of Debian packages: downloaded with apt-get, repacked without unpacking them on disk.

What a package brings of documentation and translations is left out. Of its dependencies only
libraries come along by themselves (see `_FOLLOWED`); programs are named by who wants them.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import io
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from swarmlite.errors import FailedPrecondition, Unavailable
from swarmlite.testing.oci import BuiltLayer, TarWriter, layer

_FOLLOWED = re.compile(
    r"lib[a-z0-9.+-]+|zlib1g|python3[a-z0-9.-]*|media-types|tzdata|redis-tools"
    r"|postgresql(-client)?-\d+"  # which version, only the release's own packages say
)
_NOT_NEEDED = re.compile(r"libllvm.*|libperl.*|.*-dev|.*-doc|libpam-.*|libjs-.*|libc-bin|libc-l10n")
_LEFT_OUT = re.compile(
    r"usr/share/(doc|man|info|locale|lintian|bash-completion|bug|zoneinfo/(right|posix))/"
    r"|usr/lib/python3\.\d+/(test|idlelib|lib2to3|pydoc_data|ensurepip)/|.*/bitcode/"
    r"|etc/(init\.d|systemd|logrotate\.d|cron)|(usr/)?lib/systemd/"
)
_MERGED = re.compile(r"(bin|sbin|lib|lib32|lib64|libx32)(/|$)")
_RELATIONS = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
_TIMEOUT_S = 150

BaseFiles = Callable[[TarWriter], None]
_graph: dict[str, list[str]] = {}  # package to packages, as apt has said so far


def cache_dir() -> Path:
    """Where finished layers and packages are kept."""
    if named := os.environ.get("SWARMLITE_IMAGE_CACHE"):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "swarmlite" / "images"


class Packages:
    """Builds layers of packages, or takes them from the cache; safe beside other processes."""

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache or cache_dir()
        self._cache.mkdir(parents=True, exist_ok=True)

    def layers(self, groups: Sequence[Sequence[str]], base_files: BaseFiles) -> list[BuiltLayer]:
        """One layer for each group, lowest first; each holds only what those below lack.

        Raises FailedPrecondition without apt, Unavailable where packages cannot be had.
        """
        layers = []
        with self._lock():
            for count in range(1, len(groups) + 1):
                layers.append(self._layer(groups[:count], base_files))
        return layers

    def _layer(self, groups: Sequence[Sequence[str]], base_files: BaseFiles) -> BuiltLayer:
        key = _key(groups, base_files)
        note, blob = self._cache / f"{key}.json", self._cache / f"{key}.layer"
        if note.is_file() and blob.is_file():
            return BuiltLayer(**json.loads(note.read_text()), path=blob)
        built = self._build(groups, base_files, blob)
        described = {"diff_id": built.diff_id, "digest": built.digest, "size": built.size}
        scratch = note.with_suffix(".new")
        scratch.write_text(json.dumps({**described, "media_type": built.media_type}))
        scratch.rename(note)
        return built

    def _build(
        self, groups: Sequence[Sequence[str]], base_files: BaseFiles, blob: Path
    ) -> BuiltLayer:
        below = closure([name for group in groups[:-1] for name in group])
        wanted = [name for name in closure(groups[-1]) if name not in below]
        writer = TarWriter()
        if len(groups) == 1:
            base_files(writer)
        with tempfile.TemporaryDirectory(dir=self._cache, prefix="download-") as scratch:
            _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *wanted, cwd=scratch)
            found = {path.name.partition("_")[0]: path for path in Path(scratch).glob("*.deb")}
            for name in wanted:
                _repack(found[name], writer)
        return layer(writer.tar(), "zstd", blob)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self._cache / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def closure(names: Sequence[str]) -> list[str]:
    """`names` and the libraries that they depend on, directly or not."""
    if missing := [name for name in names if name not in _graph]:
        _graph.update(_dependencies(missing))
    found: dict[str, None] = {}
    queue = list(names)
    while queue:
        name = queue.pop(0)
        if name not in found:
            found[name] = None
            queue += _graph.get(name, [])
    return list(found)


def _dependencies(names: Sequence[str]) -> dict[str, list[str]]:
    """Which followed packages each package needs; of alternatives the first."""
    without = [f"--no-{kind}" for kind in _RELATIONS]
    output = _run("apt-cache", "depends", "--recurse", *without, *names)
    graph: dict[str, list[str]] = {}
    needs: list[str] = []
    alternative = False
    for line in output.splitlines():
        kind, colon, name = line.strip().partition(":")
        if not colon:
            if not line.startswith(" "):
                needs = graph.setdefault(line, [])
            continue
        name = name.strip()
        if not alternative and _FOLLOWED.fullmatch(name) and not _NOT_NEEDED.fullmatch(name):
            needs.append(name)
        alternative = kind.startswith("|")
    return graph


def _repack(package: Path, writer: TarWriter) -> None:
    """Put the files of a package into a layer, with /bin and so on below /usr."""
    data = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", str(package)],
        check=True,
        stdout=subprocess.PIPE,
        timeout=_TIMEOUT_S,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            name = member.name.removeprefix(".").strip("/")
            name = f"usr/{name}" if _MERGED.match(name) else name
            if not name or _LEFT_OUT.match(f"{name}/" if member.isdir() else name):
                continue
            if member.isdir():
                writer.directory(name, mode=member.mode, uid=member.uid, gid=member.gid)
                continue
            member.name = name
            if member.islnk():
                link = member.linkname.removeprefix("./")
                member.linkname = f"usr/{link}" if _MERGED.match(link) else link
            file = archive.extractfile(member) if member.isreg() else None
            writer.add_new(member, file.read() if file else None)


def _key(groups: Sequence[Sequence[str]], base_files: BaseFiles) -> str:
    recipe = [
        platform.freedesktop_os_release().get("VERSION_ID", ""),  # a release has its own packages
        [list(group) for group in groups],
        inspect.getsource(inspect.getmodule(base_files) or base_files),
        Path(__file__).read_text(),
    ]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:32]


def _run(*command: str, cwd: str | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise FailedPrecondition(f"{command[0]} is missing: images are built of Debian's packages")
    try:
        result = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=cwd, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{' '.join(command[:4])} takes too long") from error
    if result.returncode:
        why = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"{' '.join(command[:2])} failed (run apt-get update?): {why}")
    return result.stdout
