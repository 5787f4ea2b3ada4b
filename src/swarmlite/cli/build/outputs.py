"""Where what is built goes: --output read, and what the builder sends written."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import BinaryIO, Protocol

import click

from swarmlite.cli.output.archive import STDOUT, WholeFile, write_all
from swarmlite.errors import InvalidSpec
from swarmlite.kernel.durable import named
from swarmlite.model.references import Reference
from swarmlite.proto.build_pb2 import BuildOutput
from swarmlite.stack.syntax import fields

STREAM = "-"
_TYPES = {
    "image": BuildOutput.IMAGE,
    "registry": BuildOutput.IMAGE,
    "docker": BuildOutput.DOCKER,
    "oci": BuildOutput.OCI,
    "tar": BuildOutput.TREE,
    "local": BuildOutput.TREE,
    "cacheonly": BuildOutput.NOTHING,
}
CACHES = ("cache", "cache-max")
"""Of --cache-to: a folder with an OCI layout."""
_KEYS = ("type", "dest", "name", "push", "tar")
_CHUNKS = 8


@dataclass(frozen=True)
class Output:
    """One; `dest` is a file, a folder (`type` local), or - for standard output."""

    type: str
    dest: str = ""
    names: tuple[str, ...] = field(default=())
    push: bool = False

    @property
    def message(self) -> BuildOutput:
        """As the builder takes it."""
        if self.type in CACHES:
            return BuildOutput(type=BuildOutput.CACHE, all_stages=self.type == CACHES[1])
        kept = self.type == "docker" and not self.dest
        return BuildOutput(type=BuildOutput.IMAGE if kept else _TYPES[self.type])


def parse(text: str) -> Output:
    """Of --output. Raises InvalidSpec."""
    if "=" not in text:
        return Output("tar", STREAM) if text == STREAM else Output("local", _required(text))
    said: dict[str, str] = {}
    for key, value in fields.split(text):
        if key not in _KEYS:
            raise InvalidSpec(f"--output {text[:60]}: {fields.unknown(key, _KEYS)}")
        said[key] = fields.required(key, value)
    kind, dest = said.get("type", ""), said.get("dest", "")
    if kind not in _TYPES:
        raise InvalidSpec(f"--output {text[:60]}: {fields.unknown(kind or 'type', _TYPES)}")
    if kind in ("local", "tar", "oci") and not dest:
        raise InvalidSpec(f"--output {text[:60]}: dest is missing: type={kind},dest=PATH")
    if kind in ("image", "registry", "cacheonly") and dest:
        raise InvalidSpec(f"--output {text[:60]}: type={kind} has no dest")
    if kind == "local" and dest == STREAM:
        raise InvalidSpec("--output: a folder cannot be standard output; use type=tar,dest=-")
    if not fields.boolean("tar", said.get("tar", "true")):
        raise InvalidSpec("--output: tar=false: not supported; unpack the archive")
    names = tuple(str(Reference.parse(name)) for name in said.get("name", "").split(",") if name)
    push = kind == "registry" or ("push" in said and fields.boolean("push", said["push"]))
    return Output(kind, dest, names, push)


def _required(text: str) -> str:
    if not text:
        raise InvalidSpec("--output is empty: expected a folder, or type=TYPE[,dest=PATH]")
    return text


def check(outputs: Sequence[Output]) -> None:
    """What can be told before anything is built. Raises InvalidSpec."""
    if [output.dest for output in outputs].count(STREAM) > 1:
        raise InvalidSpec("--output: only one of them can be standard output")
    for output in outputs:
        if output.dest == STREAM and sys.stdout.isatty():
            raise InvalidSpec("--output: an archive is not written to a terminal; use dest=FILE")
        if output.type != "local" and output.dest and Path(output.dest).is_dir():
            raise InvalidSpec(f"--output: {output.dest} is a folder: name a file in it")


class Sink(Protocol):
    """Takes the bytes of one output."""

    def write(self, data: bytes) -> None:
        """More of it. Raises OSError, InvalidSpec."""

    def finish(self) -> None:
        """It is whole. Raises as `write`."""

    def drop(self) -> None:
        """It will not be whole; after `finish` nothing."""


def sink(output: Output) -> Sink | None:
    """Where an output is written; None for one that is not sent."""
    if not output.dest:
        return None
    if output.type in ("local", *CACHES):
        return _Folder(Path(output.dest))
    if output.dest == STREAM:
        return _Stream(sys.stdout.buffer, STDOUT)
    path = Path(output.dest)
    if path.exists() and not path.is_file():  # a pipe, /dev/null
        return _Stream(path.open("wb"), output.dest)
    return WholeFile(path)


class _Stream:
    """Standard output, a pipe, a device."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream, self._name = stream, name

    def write(self, data: bytes) -> None:
        with named(self._name):
            write_all(self._stream, data)

    def finish(self) -> None:
        with named(self._name):
            self._stream.flush()

    def drop(self) -> None:
        return


class _Folder:
    """Unpacked as it comes, by a thread, with the rules of `cp`: nothing leaves the folder.

    What is given up is taken away again, unless others had files in the folder before.
    """

    def __init__(self, path: Path) -> None:
        self._new = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        self._ours = not any(path.iterdir())
        self._path = path
        self._chunks: Queue[bytes | None] = Queue(_CHUNKS)
        self._failure: Exception | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        from swarmlite.cli.container.archives import ChunkReader, unpack  # slow to load

        try:
            with named(self._path):
                unpack(
                    ChunkReader(self._taken()),
                    self._path,
                    _below,
                    keep_owners=False,
                    skipped=lambda name: click.echo(f"{name}: a device is left out", err=True),
                )
        except Exception as error:
            self._failure = error
        finally:
            for _ in self._taken():  # who writes must not wait for ever
                pass

    def _taken(self) -> Iterator[bytes]:
        while not self._ended:
            chunk = self._chunks.get()
            if chunk is None:
                self._ended = True
                return
            yield chunk

    def write(self, data: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        self._chunks.put(data)

    def finish(self) -> None:
        self._chunks.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        self._ours = False

    def drop(self) -> None:
        self._chunks.put(None)
        self._thread.join()
        if self._ours:
            from swarmlite.storage import trees

            for path in self._path.iterdir():
                trees.remove(path)
            if self._new:
                self._path.rmdir()


def _below(name: str) -> str:
    """A member's path in the folder; empty for the root."""
    path = name.strip("/").removeprefix("./").strip("/")
    return "" if path == "." else path
