"""Every container of this host, in memory and on disk: who it is, and what state it is in.

Shape: CONTAINERS_DIR/<id>/record is a serialized `Container` message, replaced as a whole. A folder
without one is of a create that was cut short. A plain container's record is on the disk itself when
`save` returns, so that restart policies outlive a power cut; a task's is not waited for, since its
managers replace what is lost. What a container without such a policy is doing lies in `latest`
beside it, a checksum and the whole message, which no disk is waited for either: a power cut ends
the run that it is about, and a half of it is seen to be one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from google.protobuf.message import DecodeError

from swarmlite.engine import names
from swarmlite.engine.exits import Exit
from swarmlite.errors import AlreadyExists, InvalidSpec, NotFound, ResourceExhausted
from swarmlite.kernel import durable
from swarmlite.proto.containers_pb2 import Container, ContainerConfig, ContainerState
from swarmlite.storage import trees

log = logging.getLogger(__name__)

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
FILE, LATEST = "record", "latest"
CHECKSUM_BYTES = 4
SHORT = 12
PASSING = (ContainerState.CREATING, ContainerState.REMOVING)
OWNER = "container/"
"""What a container is called as an owner of leases, before its id."""


class Record:
    """One container. Change `message` only with `lock` held, then `Records.save` it."""

    def __init__(self, message: Container, folder: Path, bundle: Path | None = None) -> None:
        """`folder` is the container's own; `bundle` the one of a run, `folder` when None."""
        self.message = message
        self.folder = folder
        self.bundle = bundle or folder
        self.lock = asyncio.Lock()
        self.removed = False
        self.prepared = False
        """Whether its process was made and waits for its start."""
        self.at_rest = False
        """Whether it is known that nothing of a run is left."""
        self.discarded = False
        """Whether it is known that nothing but its record and log is left."""
        self.mounted = False
        """Whether its volumes are said to be mounted."""
        self.run = 0
        """How often it was started since this process began."""
        self.exits = 0
        self.last_end: Exit | None = None
        self.ended_by_hand = ""
        """What a user of this host did to end the run that is on, as in "was removed"."""
        self.failed_starts = 0
        self._listeners: set[asyncio.Event] = set()

    @property
    def id(self) -> str:
        """64 hexadecimal digits; a task's follows from the task's id."""
        return self.message.id

    @property
    def name(self) -> str:
        """Without a slash."""
        return self.message.config.name

    @property
    def config(self) -> ContainerConfig:
        """What was asked for."""
        return self.message.config

    @property
    def state(self) -> ContainerState:
        """What it is doing."""
        return self.message.state

    @property
    def owner(self) -> str:
        """Its name as an owner of leases."""
        return OWNER + self.message.id

    @property
    def of_task(self) -> bool:
        """Whether it is a task's."""
        return self.message.config.HasField("task")

    @property
    def active(self) -> bool:
        """Whether it has a process, or is about to have one again."""
        return self.state.status in ACTIVE

    def changed(self) -> None:
        """Wake who waits in `until`."""
        for listener in self._listeners:
            listener.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once `holds()`, which is asked again at each change."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        try:
            while not holds():
                listener.clear()
                await listener.wait()
        finally:
            self._listeners.discard(listener)


ACTIVE = frozenset({ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING})


class Records:
    """The index by id and name; one event loop's."""

    def __init__(self, directory: Path, bundles: Path | None = None) -> None:
        """Nothing is read before `load`. `bundles` is where bundles are, `directory` when None."""
        self.directory = directory
        self.bundles = bundles or directory
        self._by_id: dict[str, Record] = {}
        self._by_name: dict[str, Record] = {}
        self.transient: set[str] = set()
        """Ids of what has no record, and is somebody's all the same: no sweep takes it away."""

    def load(self) -> list[str]:
        """Read what is on disk; the ids of folders that have no record. Raises OSError."""
        without = []
        for folder in sorted(self.directory.iterdir()):
            if folder.name.startswith(trees.GONE):
                trees.discard(folder)
                continue
            try:
                message = _read(folder)
            except (OSError, DecodeError) as error:
                if not isinstance(error, FileNotFoundError):
                    log.error("record unreadable container=%s error=%s", folder.name, error)
                without.append(folder.name)
                continue
            if message.id != folder.name:
                without.append(folder.name)
                continue
            self._index(self._record(message, folder))
        return without

    # looking up
    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._by_id.values()))

    def __contains__(self, container_id: object) -> bool:
        return container_id in self._by_id or container_id in self.transient

    def get(self, container_id: str) -> Record | None:
        """By the whole id."""
        return self._by_id.get(container_id)

    def find(self, ref: str) -> Record:
        """By id, name or an id's unique prefix, in this order; one slash before a name is cut off.

        Raises NotFound, InvalidSpec when several ids begin so.
        """
        found = self._by_id.get(ref) or self._by_name.get(ref.removeprefix("/"))
        if found is not None:
            return found
        if not ref:
            raise InvalidSpec("the container is not named: give its name or id")
        matches = [record for key, record in self._by_id.items() if key.startswith(ref)]
        if len(matches) > 1:
            raise InvalidSpec(f"{ref} matches {len(matches)} containers: use a longer id prefix")
        if not matches:
            raise NotFound(f"No such container: {ref}")
        return matches[0]

    def newest_first(self) -> list[Record]:
        """All, as `ps` lists them."""

        def age(record: Record) -> tuple[int, int]:
            return record.message.created.seconds, record.message.created.nanos

        return sorted(self._by_id.values(), key=age, reverse=True)

    # changing
    def add(self, message: Container) -> Record:
        """Take a new container in, in memory only; it is named if it has no name.

        Raises AlreadyExists when its name or id is taken, InvalidSpec for an impossible name.
        """
        config = message.config
        if config.name:
            config.name = self._check_free(config.name)
        else:
            config.name = names.generate(self._by_name)
        if message.id in self._by_id:
            raise AlreadyExists(f"container {message.id} exists")
        record = self._record(message, self.directory / message.id)
        self._index(record)
        return record

    def _record(self, message: Container, folder: Path) -> Record:
        return Record(message, folder, self.bundles / folder.name)

    def rename(self, record: Record, name: str) -> None:
        """In memory only. Raises AlreadyExists, InvalidSpec."""
        name = name.removeprefix("/")
        if name == record.name:
            raise InvalidSpec(
                "Renaming a container with the same name as its current name is not possible"
            )
        name = self._check_free(name)
        del self._by_name[record.name]
        record.config.name = name
        self._by_name[name] = record

    def _check_free(self, name: str) -> str:
        name = name.removeprefix("/")
        if not NAME.fullmatch(name):
            raise InvalidSpec(
                f"Invalid container name ({name[:80]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )
        holder = self._by_name.get(name)
        if holder is not None:
            raise AlreadyExists(
                f'Conflict. The container name "/{name}" is already in use by container '
                f'"{holder.id}". You have to remove (or rename) that container to be able to '
                "reuse that name."
            )
        return name

    def _index(self, record: Record) -> None:
        self._by_id[record.id] = record
        holder = self._by_name.get(record.name)
        if holder is not None and holder is not record:  # only a damaged disk has two
            record.config.name = names.generate(self._by_name)
        self._by_name[record.name] = record

    def drop(self, record: Record) -> None:
        """Forget it, in memory only."""
        self._by_id.pop(record.id, None)
        if self._by_name.get(record.name) is record:
            del self._by_name[record.name]
        record.removed = True
        record.changed()

    def note(self, record: Record) -> None:
        """Write it down as well as can be, for the next process: it wakes nobody.

        A power cut may lose it, which ends all that it could be about.
        """
        data = _serialized(record)
        try:
            if record.of_task:
                _write_in_place(f"{record.folder}/{FILE}", data)
            else:
                _write_latest(record, data)
        except OSError as error:
            log.warning("record not written container=%s error=%s", record.id, error)

    async def save(self, record: Record, *, doing: bool = False) -> None:
        """Write it down, and wake who waits for a change. Raises ResourceExhausted.

        `doing`: nothing but what it is doing has changed.
        """
        data = _serialized(record)
        try:
            if record.of_task:
                _write_in_place(f"{record.folder}/{FILE}", data)
            else:
                path = record.folder / FILE
                # A power cut in the middle of a create leaves no record, or one that is undone; in
                # the middle of a removal one that is gone on with, or what it was before it began.
                if doing and not record.config.restart.condition:
                    _write_latest(record, data)
                elif record.config.auto_remove or record.state.status in PASSING:
                    durable.write(path, data, sync=False)
                else:
                    await asyncio.to_thread(durable.write, path, data)
        except OSError as error:
            raise ResourceExhausted(
                f"container {record.id[:SHORT]} cannot be recorded in {self.directory}: "
                f"{error.strerror}"
            ) from error
        finally:
            record.changed()


def _serialized(record: Record) -> bytes:
    record.message.saves += 1
    return record.message.SerializeToString()


def _write_latest(record: Record, data: bytes) -> None:
    """In its place, where renaming costs more: half of it does not have its checksum."""
    checksum = zlib.crc32(data).to_bytes(CHECKSUM_BYTES, "big")
    _write_in_place(f"{record.folder}/{LATEST}", checksum + data)


def _read(folder: Path) -> Container:
    """Raises OSError, DecodeError."""
    message = Container.FromString((folder / FILE).read_bytes())
    with contextlib.suppress(FileNotFoundError, DecodeError):
        data = (folder / LATEST).read_bytes()
        checksum, data = data[:CHECKSUM_BYTES], data[CHECKSUM_BYTES:]
        if zlib.crc32(data).to_bytes(CHECKSUM_BYTES, "big") == checksum:
            latest = Container.FromString(data)
            if latest.id == message.id and latest.saves > message.saves:
                return latest
    return message


def _write_in_place(path: str, data: bytes) -> None:
    """For what may be lost: a file beside it, renamed over it, costs milliseconds on a busy disk.

    A process that is killed in between leaves a task's record that cannot be read, and its
    container is swept away; its managers replace the task.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)
