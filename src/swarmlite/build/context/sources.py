"""What the words CONTEXT and --file of a build mean: the Dockerfile, and what goes with it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from swarmlite.build.context import packing, patterns, remote
from swarmlite.build.context.packing import Hear
from swarmlite.errors import InvalidSpec

STREAM = "-"
DOCKERFILE = "Dockerfile"
MAX_DOCKERFILE_BYTES = 4 << 20
CHUNK_BYTES = 512 * 1024
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


@dataclass
class Source:
    """What a build is given: the tar (nothing: it is empty), and one of the two Dockerfiles."""

    chunks: Iterator[bytes] = field(default_factory=lambda: iter(()))
    dockerfile: str = ""
    """Its path in the tar, where `inline` is None."""
    inline: bytes | None = None
    name: str = DOCKERFILE
    """How messages call it."""


class Sources:
    """Opens them; what is opened is closed with the with."""

    def __init__(self, stdin: BinaryIO, warn: Hear, relative_to: Path | None = None) -> None:
        """`warn` hears of what is left out; paths begin at `relative_to`, or where we are."""
        self._stdin, self._warn = stdin, warn
        self.here = relative_to or Path()
        self._open = ExitStack()

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def main(self, context: str, file: str = "", inline: bytes | None = None) -> Source:
        """A build's context; `file` is empty where it was not said; `inline` stands for it.

        Raises InvalidSpec and Unavailable: nothing was sent then.
        """
        if not context:
            raise InvalidSpec("the context is empty: give a folder, an address, or - for a tar")
        if context == STREAM:
            if file == STREAM:
                raise InvalidSpec("the context and the Dockerfile cannot both be standard input")
            return self._of_stream(self._stdin, file, "standard input")
        if remote.is_git(context):
            folder = self._open.enter_context(remote.checkout(context))
            return self._of_folder(folder, file, below=True, inline=inline)
        if remote.is_http(context):
            stream = self._open.enter_context(remote.download(context))
            return self._of_stream(stream, file, context)
        folder = self.here / context
        if not folder.exists():
            raise InvalidSpec(f"the context {context} does not exist: expected a folder")
        if not folder.is_dir():
            raise InvalidSpec(f"the context {context} is not a folder; a tar is given by: - < TAR")
        return self._of_folder(folder, file, below=False, inline=inline)

    def named(self, value: str) -> Iterator[bytes]:
        """The tar of one more context: a folder or an address."""
        if remote.is_git(value):
            folder = self._open.enter_context(remote.checkout(value))
        elif remote.is_http(value):
            stream = self._open.enter_context(remote.download(value))
            return _all_of(_begin(stream), stream)
        else:
            folder = self.here / value
            if not folder.is_dir():
                raise InvalidSpec(f"the context {value} is not a folder")
        ignored = _ignored([folder / ".dockerignore"])
        return packing.packed(folder, ignored, self._warn)

    def _of_stream(self, stream: BinaryIO, file: str, what: str) -> Source:
        start = _begin(stream)
        if not start:
            raise InvalidSpec(f"{what} is empty: expected a tar or a Dockerfile")
        if _is_archive(start):
            if file == STREAM:
                return Source(_all_of(start, stream), inline=self._typed())
            return Source(_all_of(start, stream), file or DOCKERFILE, name=file or DOCKERFILE)
        if file:
            raise InvalidSpec(f"{what} is a Dockerfile, and --file names another one")
        return Source(inline=_whole(start, stream, what))

    def _of_folder(
        self, folder: Path, file: str, *, below: bool, inline: bytes | None = None
    ) -> Source:
        if inline is not None:
            return self._packed(folder, [folder / ".dockerignore"], inline, DOCKERFILE)
        if file == STREAM:
            return self._packed(folder, [folder / ".dockerignore"], self._typed(), DOCKERFILE)
        if remote.is_http(file):
            with remote.download(file) as stream:
                text = _whole(b"", stream, file)
            return self._packed(folder, [folder / ".dockerignore"], text, file)
        path = (folder if below or not file else self.here) / (file or DOCKERFILE)
        if not file and not path.exists() and (folder / "dockerfile").exists():
            path = folder / "dockerfile"
        if below and not path.resolve().is_relative_to(folder.resolve()):
            raise InvalidSpec(f"--file {file}: it is outside of the repository")
        try:
            with path.open("rb") as stream:
                text = _whole(b"", stream, str(path))
        except OSError as error:
            hint = "; --file names another one" if not file else ""
            raise InvalidSpec(f"{path} cannot be read: {error.strerror}{hint}") from error
        own = path.with_name(f"{path.name}.dockerignore")
        return self._packed(folder, [own, folder / ".dockerignore"], text, file or path.name)

    def _packed(self, folder: Path, ignore: list[Path], text: bytes, name: str) -> Source:
        chunks = packing.packed(folder, _ignored(ignore), self._warn)
        return Source(chunks, inline=text, name=name)

    def _typed(self) -> bytes:
        return _whole(b"", self._stdin, "standard input")


def _ignored(candidates: list[Path]) -> patterns.Patterns:
    """Of the first of these files that there is."""
    for path in candidates:
        try:
            return patterns.read(path.read_bytes(), path.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InvalidSpec(f"{path} cannot be read: {error.strerror}") from error
    return patterns.Patterns(())


def _begin(stream: BinaryIO) -> bytes:
    start = b""
    while len(start) < tarfile.BLOCKSIZE and (data := stream.read(tarfile.BLOCKSIZE - len(start))):
        start += data
    return start


def _is_archive(start: bytes) -> bool:
    if start.startswith(_PACKED) or start == b"\0" * tarfile.BLOCKSIZE:  # the latter of nothing
        return True
    try:
        tarfile.TarInfo.frombuf(start[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _all_of(start: bytes, stream: BinaryIO) -> Iterator[bytes]:
    yield start
    while data := stream.read(CHUNK_BYTES):
        yield data


def _whole(start: bytes, stream: BinaryIO, what: str) -> bytes:
    parts, size = [start], len(start)
    while data := stream.read(CHUNK_BYTES):
        parts.append(data)
        size += len(data)
        if size > MAX_DOCKERFILE_BYTES:
            raise InvalidSpec(f"{what} is longer than {MAX_DOCKERFILE_BYTES} bytes: no Dockerfile")
    text = b"".join(parts)
    if not text.strip():
        raise InvalidSpec(f"{what} is empty: expected a Dockerfile that begins with FROM")
    return text
