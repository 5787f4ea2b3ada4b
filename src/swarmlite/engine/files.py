"""Files of containers, in and out: `cp`, `export`, `diff`.

A container's names are its own, and change while they are looked at (CVE-2018-15664): every path is
opened by the kernel below a descriptor of the container's root, with openat2(RESOLVE_IN_ROOT), and
nothing of the container is ever run or loaded (CVE-2019-14271).
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swarmlite.engine.events import moment
from swarmlite.engine.records import SHORT, Record
from swarmlite.engine.unpacking import Unpacking
from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SwarmliteError,
)
from swarmlite.kernel.paths import DIRECTORY, open_in_root
from swarmlite.proto.containers_pb2 import ChangesResponse, ContainerState, CopyToRequest, PathStat
from swarmlite.proto.types_pb2 import Mount
from swarmlite.storage import trees
from swarmlite.storage.snapshots.tars import TarStream
from swarmlite.storage.snapshots.types import Snapshots

LOOK = os.O_PATH | os.O_NOFOLLOW
KINDS = {
    "A": ChangesResponse.ADDED, "C": ChangesResponse.MODIFIED, "D": ChangesResponse.DELETED,
}  # fmt: skip


class Files:
    """For all containers of a host. Everything here blocks: call it on a thread."""

    def __init__(self, snapshots: Snapshots) -> None:
        """`snapshots` are the containers' roots while they do not run."""
        self._snapshots = snapshots

    def stat(self, record: Record, path: str) -> PathStat:
        """What is at `path`, a link as a link. Raises NotFound, InvalidSpec."""
        with self._root(record, path) as (root, inner), _translated(record, path):
            fd = _look(root, inner)
            try:
                return _described(fd, path)
            finally:
                os.close(fd)

    def pack(self, record: Record, path: str) -> Iterator[bytes]:
        """A tar of what is at `path`, its root named as the path's last part.

        Raises NotFound before the first piece. The iterator is to be closed.
        """
        with self._root(record, path) as (root, inner), _translated(record, path):
            stream = TarStream(record.message.first_id, record.message.id_count)
            name = posixpath.basename(posixpath.normpath(path)).lstrip("/")
            parent, last = posixpath.split(posixpath.normpath(inner).rstrip("/"))
            fd = _look(root, inner)
            try:
                status = os.fstat(fd)
                if last and name:
                    yield from self._top(root, parent, last, name, status, stream)
                if stat.S_ISDIR(status.st_mode):
                    yield from _tree(fd, (name,) if name else (), stream)
            finally:
                os.close(fd)
            yield stream.end()

    def _top(
        self,
        root: int,
        parent: str,
        last: str,
        name: str,
        status: os.stat_result,
        stream: TarStream,
    ) -> Iterator[bytes]:
        folder = open_in_root(root, parent or "/", DIRECTORY)
        try:
            yield from stream.member(Renamed(folder, (last,), status, named=(name,)))
        finally:
            os.close(folder)

    def export(self, record: Record) -> Iterator[bytes]:
        """A tar of the whole root, without what is mounted in it."""
        with _translated(record, "/"), self._snapshots.mounted(record.id) as place:
            root = os.open(place, DIRECTORY)
            try:
                stream = TarStream(record.message.first_id, record.message.id_count)
                yield from _tree(root, (), stream)
                yield stream.end()
            finally:
                os.close(root)

    def unpack(self, record: Record, to: CopyToRequest.To, source: Unpacking) -> None:
        """Unpack a tar into the directory `to.path`. Raises NotFound, InvalidSpec."""
        with (
            self._root(record, to.path, write=True) as (root, inner),
            _translated(record, to.path),
        ):
            os.close(open_in_root(root, inner, DIRECTORY))
            place = None if _live(record) else _mount_of(record, posixpath.normpath(to.path))
            # A volume of a stopped container is written as it lies on the disk.
            ids = (0, 0) if place else (record.message.first_id, record.message.id_count)
            source.into(root, inner, *ids)

    def changes(self, record: Record) -> ChangesResponse:
        """What differs from the image."""
        response = ChangesResponse()
        for change in self._snapshots.changes(record.id):
            response.changes.add(kind=KINDS[change.kind], path=change.path)
        return response

    # roots
    @contextlib.contextmanager
    def _root(self, record: Record, path: str, *, write: bool = False) -> Iterator[tuple[int, str]]:
        """A descriptor of the root that `path` lies in, and the path from there."""
        if not path or "\0" in path:
            raise InvalidSpec("the path in the container is empty or holds a NUL")
        absolute = posixpath.normpath("/" + path.lstrip("/"))  # two slashes would stay two
        if _live(record):
            with _running_root(record) as root:
                yield root, absolute
            return
        mounted = _mount_of(record, absolute)
        if mounted is not None:
            mount, inner = mounted
            if write and mount.readonly:
                raise FailedPrecondition("mounted volume is marked read-only")
            source = next(
                point.source for point in record.message.mounts if point.destination == mount.target
            )
            with _opened(source) as root:
                yield root, inner
            return
        if write and record.config.spec.read_only:
            raise FailedPrecondition("container rootfs is marked read-only")
        with self._snapshots.mounted(record.id, write=write) as place, _opened(place) as root:
            yield root, absolute


def _live(record: Record) -> bool:
    """Whether its files are seen through its first process, mounts and all."""
    return record.state.status in (ContainerState.RUNNING, ContainerState.PAUSED)


def _mount_of(record: Record, path: str) -> tuple[Mount, str] | None:
    """The mount that a path lies in while nothing is mounted, and the path from there."""
    best: Mount | None = None
    for mount in record.message.resolved_mounts:
        inside = path == mount.target or path.startswith(f"{mount.target}/")
        if (
            inside
            and mount.type in (Mount.BIND, Mount.VOLUME)
            and (best is None or len(mount.target) > len(best.target))
        ):
            best = mount
    return None if best is None else (best, path[len(best.target) :] or "/")


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    fd = os.open(path, DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _running_root(record: Record) -> Iterator[int]:
    """The root of a running container as its first process sees it, mounts and all."""
    pid = record.state.pid
    try:
        fd = os.open(f"/proc/{pid}/root", DIRECTORY)
    except OSError as error:
        raise FailedPrecondition(f"container {record.id[:SHORT]} has just ended") from error
    try:
        if record.state.pid != pid:  # its number may be another's by now
            raise FailedPrecondition(f"container {record.id[:SHORT]} has just ended")
        yield fd
    finally:
        os.close(fd)


def _look(root: int, path: str) -> int:
    """What a path names, its last part not followed."""
    parent, last = posixpath.split(path.rstrip("/"))
    if not last:
        return open_in_root(root, "/", os.O_PATH)
    folder = open_in_root(root, parent or "/", DIRECTORY)
    try:
        return os.open(last, LOOK | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)


def _described(fd: int, path: str) -> PathStat:
    status = os.fstat(fd)
    described = PathStat(
        name=posixpath.basename(posixpath.normpath(path)) or "/",
        size_bytes=status.st_size,
        mode=status.st_mode,
        mtime=moment(status.st_mtime_ns),
    )
    if stat.S_ISLNK(status.st_mode):
        described.link_target = os.readlink("", dir_fd=fd)
    return described


@dataclass(frozen=True)
class Renamed(trees.Entry):
    """An entry under another name in the archive."""

    named: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """In the archive."""
        return "/".join(self.named)


def _tree(directory: int, prefix: tuple[str, ...], stream: TarStream) -> Iterator[bytes]:
    """Everything below a directory that is open."""
    own = os.open(".", DIRECTORY, dir_fd=directory)
    try:
        for entry in trees.walk(own):
            named = (*prefix, *entry.parts)
            yield from stream.member(Renamed(entry.folder, entry.parts, entry.status, named=named))
    finally:
        os.close(own)


@contextlib.contextmanager
def _translated(record: Record, path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(
            f"Could not find the file {path} in container {record.name or record.id}"
        ) from error
    except NotADirectoryError as error:
        raise InvalidSpec(f"{path} in container {record.name}: is not a directory") from error
    except OSError as error:
        raise _error(record, path, error) from error


def _error(record: Record, path: str, error: OSError) -> SwarmliteError:
    text = f"{path} in container {record.name}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(text)
    if error.errno in (errno.EPERM, errno.EACCES):
        return PermissionDenied(text)
    return FailedPrecondition(text)
