"""The node's tasks on disk: an append-only journal, written behind in a thread.

Shape: records of a 4-byte length, a 4-byte CRC-32, one kind byte and a protobuf message: `T` a Task
as assigned (its status the last observed one), `S` a TaskStatusUpdate, `R` a TaskStatusUpdate whose
task is forgotten. A torn tail (a power cut) is dropped at the next start, when the file is written
again. Registry credentials of a task are left out: nothing secret is on disk.
"""

from __future__ import annotations

import asyncio
import os
import struct
import zlib
from pathlib import Path

from swarmlite.proto.dispatcher_pb2 import TaskStatusUpdate
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.types_pb2 import TaskState, TaskStatus

HEADER = struct.Struct("<IIc")
WRITE_BEHIND_S = 0.05
COMPACT_BYTES = 16 << 20


class Journal:
    """Remembers tasks and their last observed status across restarts of the agent."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened before `load`."""
        self._path = path
        self._tasks: dict[str, Task] = {}
        self._pending: list[bytes] = []
        self._dirty = asyncio.Event()
        self._size = 0

    def load(self) -> dict[str, Task]:
        """Every task that was not forgotten, with its last status; the file loses its garbage."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            data = b""
        self._tasks = _replay(data)
        self._compact()
        return {task_id: _copy(task) for task_id, task in self._tasks.items()}

    def put(self, task: Task) -> None:
        """Remember `task` with its status; on disk within about `WRITE_BEHIND_S`."""
        kept = _copy(task)
        kept.spec.container.ClearField("pull_options")
        self._tasks[task.id] = kept
        self._append(b"T", kept.SerializeToString())

    def put_status(self, task_id: str, status: TaskStatus) -> None:
        """Remember the last status of a task that is known; else does nothing."""
        task = self._tasks.get(task_id)
        if task is None:
            return
        task.status.CopyFrom(status)
        update = TaskStatusUpdate(task_id=task_id, status=status)
        self._append(b"S", update.SerializeToString())

    def put_desired(self, task_id: str, desired: TaskState.ValueType) -> None:
        """Remember the desired state of a task that is known."""
        task = self._tasks.get(task_id)
        if task is not None and task.desired_state != desired:
            task.desired_state = desired
            self._append(b"T", task.SerializeToString())

    def forget(self, task_id: str) -> None:
        """The task is gone; safe to repeat."""
        if self._tasks.pop(task_id, None) is not None:
            self._append(b"R", TaskStatusUpdate(task_id=task_id).SerializeToString())

    async def run(self) -> None:
        """Writes what is pending, in batches; ends by cancellation, after a last write."""
        try:
            while True:
                await self._dirty.wait()
                await asyncio.sleep(WRITE_BEHIND_S)
                self._dirty.clear()
                data, self._pending = b"".join(self._pending), []
                await asyncio.to_thread(self._write, data)
                if self._size > COMPACT_BYTES and self._size > 4 * self._live_bytes():
                    self._pending.clear()  # the new file holds them
                    self._compact()
        finally:
            self.flush()

    def flush(self) -> None:
        """Writes what is pending at once."""
        if self._pending:
            data, self._pending = b"".join(self._pending), []
            self._write(data)

    def _append(self, kind: bytes, body: bytes) -> None:
        self._pending.append(_record(kind, body))
        self._dirty.set()

    def _write(self, data: bytes) -> None:
        descriptor = os.open(
            self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        self._size += len(data)

    def _live_bytes(self) -> int:
        return sum(task.ByteSize() + HEADER.size for task in self._tasks.values())

    def _compact(self) -> None:
        scratch = self._path.with_suffix(".new")
        data = b"".join(_record(b"T", task.SerializeToString()) for task in self._tasks.values())
        descriptor = os.open(scratch, os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        scratch.replace(self._path)
        self._size = len(data)


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
