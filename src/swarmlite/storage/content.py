"""Blobs by digest, as they came: manifests, configs, layers compressed or not.

Shape: `blobs/ALGORITHM/HEX`, whole and on the disk since before they got that name, and
`ingest/ALGORITHM-HEX`, on their way and kept for a day, so that an interrupted download goes on
where it ended. What nobody needs any more is collected (`collect`); it knows nothing of images.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.kernel import durable
from swarmlite.model.references import is_digest
from swarmlite.storage import trees

STALE_S = 86_400.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Info:
    """A blob that is here."""

    digest: str
    size_bytes: int
    modified: float


class Content:
    """The blobs below `root`, which one process at a time may use, from any of its threads.

    All of it blocks, for as long as the disk takes. Raises OSError, a full disk's among others.
    """

    def __init__(self, root: Path, lost: Collection[str] = ()) -> None:
        """Blobs of the digests `lost` are dropped."""
        self._blobs = root / "blobs"
        self._ingest = root / "ingest"
        for folder in (self._blobs, self._ingest):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for algorithm in ("sha256", "sha512"):
            (self._blobs / algorithm).mkdir(mode=0o700, exist_ok=True)
        self._drop_stale()
        for digest in filter(is_digest, lost):
            self._place(digest).unlink(missing_ok=True)
            self.abandon(digest)

    # reading
    def path(self, digest: str) -> Path:
        """Where a blob lies; it is only read. Raises NotFound, InvalidSpec."""
        path = self._place(digest)
        if not path.is_file():
            raise NotFound(f"blob {digest} is not here")
        return path

    def has(self, digest: str) -> bool:
        """Whether it is here, whole."""
        return self._place(digest).is_file()

    def info(self, digest: str) -> Info:
        """Raises NotFound, InvalidSpec."""
        status = self.path(digest).stat()
        return Info(digest, status.st_size, status.st_mtime)

    def open(self, digest: str) -> BinaryIO:
        """The blob's bytes. Raises NotFound, InvalidSpec."""
        return self.path(digest).open("rb")

    def read(self, digest: str, limit: int) -> bytes:
        """A small blob. Raises NotFound, InvalidSpec where it is longer than `limit`."""
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise InvalidSpec(f"blob {digest} is longer than {limit} bytes")
        return data

    def digests(self) -> Iterator[str]:
        """All that are here."""
        for folder in self._blobs.iterdir():
            for path in folder.iterdir():
                digest = f"{folder.name}:{path.name}"
                if is_digest(digest):
                    yield digest

    # writing
    def put(self, data: bytes, *, algorithm: str = "sha256", sync: bool = True) -> str:
        """Keep a small blob; its digest."""
        digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        if not self.has(digest):
            durable.write(self._place(digest), data, sync=sync)
        return digest

    def take(self, file: BinaryIO, size: int, digest: str = "") -> str:
        """`stage` and `adopt`; the digest."""
        digest, scratch = self.stage(file, size, digest)
        self.adopt(scratch, digest, synced=False)
        return digest

    def stage(self, file: BinaryIO, size: int, digest: str = "") -> tuple[str, Path]:
        """Copy the next `size` bytes of a file: their digest, and the copy, for `adopt`.

        Raises InvalidSpec where it is not `digest`; then nothing stays. Empty means sha256 of any.
        """
        algorithm = digest.partition(":")[0] or "sha256"
        scratch = self.scratch()
        state = hashlib.new(algorithm)
        try:
            with scratch.open("xb") as target:
                while size and (piece := file.read(min(size, _CHUNK))):
                    state.update(piece)
                    target.write(piece)
                    size -= len(piece)
            found = f"{algorithm}:{state.hexdigest()}"
            if size or (digest and found != digest):
                raise InvalidSpec(f"blob {digest or found} has another content")
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        return found, scratch

    def scratch(self) -> Path:
        """A new name for a blob that is written before its digest is known; gone at a start."""
        return self._ingest / f"take-{os.urandom(8).hex()}"

    def adopt(self, scratch: Path, digest: str, *, synced: bool = True) -> Path:
        """A file of `scratch` becomes the blob of its digest, or goes where that is here.

        With `synced` the caller has brought it to the disk already. Fails: nothing of it stays.
        """
        place = self._place(digest)
        try:
            if not place.exists():
                self._keep(scratch, digest, synced=synced)
        finally:
            scratch.unlink(missing_ok=True)
        return place

    def ingest(self, digest: str) -> Path:
        """The file that a blob on its way is written to; one writer at a time."""
        self._place(digest)
        return self._ingest / digest.replace(":", "-")

    def commit(self, digest: str, *, synced: bool = False) -> Path:
        """The ingested file, whose digest was checked, becomes the blob. Safe to repeat.

        With `synced` the caller has brought it to the disk already (durable.sync_disk).
        """
        place = self._place(digest)
        path = self.ingest(digest)
        if place.exists():
            path.unlink(missing_ok=True)
        else:
            self._keep(path, digest, synced=synced)
        return place

    def _keep(self, path: Path, digest: str, *, synced: bool = False) -> None:
        if not synced:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        durable.replace(path, self._place(digest), sync=not synced)

    # removing
    def abandon(self, digest: str) -> None:
        """Drop what has arrived of a blob; safe to repeat."""
        self.ingest(digest).unlink(missing_ok=True)

    def delete(self, digest: str) -> int:
        """Drop a blob; the bytes that are free soon, for its file goes in a thread of its own.

        Safe to repeat.
        """
        return self._delete([digest])

    def _delete(self, digests: Sequence[str]) -> int:
        freed, gone = 0, []
        for digest in digests:
            place, trash = self._place(digest), self._ingest / f"gone-{os.urandom(8).hex()}"
            with contextlib.suppress(FileNotFoundError):
                size = place.stat().st_size
                place.rename(trash)
                freed += size
                gone.append(trash)
        trees.discard(*gone)
        return freed

    def collect(self, needed: Set[str]) -> int:
        """Drop every blob that is not needed; the bytes that are free soon."""
        return self._delete([digest for digest in self.digests() if digest not in needed])

    def _place(self, digest: str) -> Path:
        if not is_digest(digest):
            raise InvalidSpec(f"{digest[:100]!r} is not a digest")
        algorithm, _, digits = digest.partition(":")
        return self._blobs / algorithm / digits

    def _drop_stale(self) -> None:
        for path in self._ingest.iterdir():
            with contextlib.suppress(OSError):
                old = path.lstat().st_mtime < time.time() - STALE_S
                if old or path.name.startswith(("take-", "gone-")):
                    trees.remove(path)
        for folder in self._blobs.iterdir():
            for path in folder.glob(".*.new"):
                path.unlink(missing_ok=True)
