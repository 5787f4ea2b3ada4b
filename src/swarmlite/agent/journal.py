"""The node's tasks on disk: an append-only journal, written behind in a thread.

Shape: records of a 4-byte length, a 4-byte CRC-32, one kind byte and a protobuf message: `T` a Task
as assigned (its status the last observed one), `S` a TaskStatusUpdate, `R` a TaskStatusUpdate whose
task is forgotten. A torn tail (a power cut) is dropped at the next start, when the file is written
again. Registry credentials of a task are left out: nothing secret is on disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import threading
import zlib
from pathlib import Path

from swarmlite.kernel import durable
from swarmlite.proto.dispatcher_pb2 import TaskStatusUpdate
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.types_pb2 import TaskState, TaskStatus

log = logging.getLogger(__name__)

HEADER = struct.Struct("<IIc")
WRITE_BEHIND_S = 0.05
RETRY_S = 5.0
COMPACT_BYTES = 16 << 20


class Journal:
    """Remembers tasks and their last observed status across restarts of the agent.

    A disk that cannot be written costs what an untimely end of the agent would lose, and nothing
    else: everything is in memory too, `failure` says why, and it is written as soon as it can be.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is opened before `load`."""
        self._path = path
        self._tasks: dict[str, Task] = {}
        self._statuses: dict[str, TaskStatus] = {}
        """Newer than what `_tasks` say."""
        self._pending: dict[str, bytes] = {}
        """Kinds of records that are to be written: one for each task, whatever happened to it."""
        self._dirty = asyncio.Event()
        self._size = 0
        self._stale = False  # the file lacks what memory has: only a new one will do
        self._writing = threading.Lock()
        self.failure = ""

    def load(self) -> dict[str, Task]:
        """Every task that was not forgotten, with its last status; the file loses its garbage."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            data = b""
        self._tasks = _replay(data)
        # Whole, always: what is appended must not stand behind a torn tail.
        self._stale = True
        self._write(*self._taken())
        if self.failure:
            self._dirty.set()
        return {task_id: _copy(task) for task_id, task in self._tasks.items()}

    def put(self, task: Task) -> None:
        """Remember `task` with its status; on disk within about `WRITE_BEHIND_S`."""
        kept = _copy(task)
        kept.spec.container.pull_options.ClearField("registry_auth")
        self._tasks[task.id] = kept
        self._statuses.pop(task.id, None)
        self._append(b"T", task.id)

    def put_status(self, task_id: str, status: TaskStatus) -> None:
        """Remember the last status of a task that is known; else does nothing."""
        if task_id in self._tasks:
            self._statuses[task_id] = status
            self._append(b"S", task_id)

    def put_desired(self, task_id: str, desired: TaskState.ValueType) -> None:
        """Remember the desired state of a task that is known."""
        task = self._tasks.get(task_id)
        if task is not None and task.desired_state != desired:
            task.desired_state = desired
            self._append(b"T", task_id)

    def forget(self, task_id: str) -> None:
        """The task is gone; safe to repeat."""
        if self._tasks.pop(task_id, None) is not None:
            self._statuses.pop(task_id, None)
            self._append(b"R", task_id)

    async def run(self) -> None:
        """Writes what is pending, in batches; ends by cancellation, after a last write."""
        try:
            while True:
                await self._dirty.wait()
                await asyncio.sleep(WRITE_BEHIND_S)
                self._dirty.clear()
                if self._size > COMPACT_BYTES and self._size > 4 * self._live_bytes():
                    self._stale = True
                await asyncio.to_thread(self._write, *self._taken())
                if self.failure:
                    await asyncio.sleep(RETRY_S)
                    self._dirty.set()
        finally:
            self.flush()

    def flush(self) -> None:
        """Writes what is pending at once."""
        if self._pending:
            self._write(*self._taken())
        if self._stale:
            self._write(*self._taken())

    def _taken(self) -> tuple[bytes, bool]:
        """What is to be written: the pending records, or all there is where the file is stale."""
        statuses, self._statuses = self._statuses, {}
        for task_id, status in statuses.items():
            self._tasks[task_id].status.CopyFrom(status)
        pending, self._pending = self._pending, {}
        if self._stale:
            pending = dict.fromkeys(self._tasks, b"T")
        return b"".join(self._record(kind, i) for i, kind in pending.items()), self._stale

    def _record(self, kind: bytes, task_id: str) -> bytes:
        if kind == b"T":
            return _record(kind, self._tasks[task_id].SerializeToString())
        status = self._tasks[task_id].status if kind == b"S" else None
        return _record(kind, TaskStatusUpdate(task_id=task_id, status=status).SerializeToString())

    def _append(self, kind: bytes, task_id: str) -> None:
        if kind != b"S" or self._pending.get(task_id) != b"T":  # which says the status too
            self._pending[task_id] = kind
        self._dirty.set()

    def _write(self, data: bytes, whole: bool) -> None:
        """Append, or write the file again; never raises."""
        with self._writing:
            self._try_to_write(data, whole)

    def _try_to_write(self, data: bytes, whole: bool) -> None:
        try:
            if whole:
                durable.write(self._path, data)
                self._size, self._stale = len(data), False
            elif not self._stale:  # else the next write brings this too
                self._append_to_file(data)
        except OSError as error:
            if not self.failure:
                log.error("tasks not kept on disk path=%s error=%s", self._path, error)
            self._stale, self.failure = True, str(error)
        else:
            if self.failure and not self._stale:
                log.info("tasks kept on disk again path=%s", self._path)
                self.failure = ""

    def _append_to_file(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        self._size += len(data)

    def _live_bytes(self) -> int:
        return sum(task.ByteSize() + HEADER.size for task in self._tasks.values())


def _copy(task: Task) -> Task:
    copy = Task()
    copy.CopyFrom(task)
    return copy


def _record(kind: bytes, body: bytes) -> bytes:
    return HEADER.pack(len(body), zlib.crc32(kind + body), kind) + body


def _replay(data: bytes) -> dict[str, Task]:
    tasks: dict[str, Task] = {}
    offset = 0
    while offset + HEADER.size <= len(data):
        length, checksum, kind = HEADER.unpack_from(data, offset)
        body = data[offset + HEADER.size : offset + HEADER.size + length]
        if len(body) < length or zlib.crc32(kind + body) != checksum:
            break
        offset += HEADER.size + length
        _apply(tasks, kind, body)
    return tasks


def _apply(tasks: dict[str, Task], kind: bytes, body: bytes) -> None:
    if kind == b"T":
        task = Task.FromString(body)
        tasks[task.id] = task
        return
    update = TaskStatusUpdate.FromString(body)
    if kind == b"R":
        tasks.pop(update.task_id, None)
    elif update.task_id in tasks:
        tasks[update.task_id].status.CopyFrom(update.status)
