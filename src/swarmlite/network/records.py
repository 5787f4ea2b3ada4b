"""The records of all sandboxes in one file of the run directory: what a started agent takes up.

Shape: a JSON object a line; the last one of an id counts, {"gone": ID} takes it back. Appended to,
since a file each would be made, renamed and removed on the path of a start and a stop; written
again when most of it is of the past. A torn line is of a process that was killed: what it was about
was not finished either. The directory does not survive a reboot, as the kernel's objects do not.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from pathlib import Path

from swarmlite.kernel import durable
from swarmlite.network.state import SandboxRecord, from_json, to_json

log = logging.getLogger(__name__)

FILE = "sandboxes"
COMPACT_BYTES = 1 << 20


class Records:
    """One process's, from any of its threads."""

    def __init__(self, directory: Path) -> None:
        """Nothing is opened before the first call."""
        self._directory, self._path = directory, directory / FILE
        self._lines: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._descriptor = -1
        self._size = 0
        self._stale = True  # the file is not what memory says: only a new one will do

    def save(self, record: SandboxRecord) -> None:
        """Write one down, whole or not at all. Raises OSError."""
        line = json.dumps(to_json(record), separators=(",", ":")).encode() + b"\n"
        with self._lock:
            before = self._lines.get(record.id)
            self._lines[record.id] = line
            try:
                self._append(line)
            except OSError:
                self._stale = True
                if before is None:
                    del self._lines[record.id]
                else:
                    self._lines[record.id] = before
                raise

    def remove(self, sandbox_id: str) -> None:
        """Forget one; safe to repeat, and no error on a full disk: its namespace is gone too."""
        with self._lock:
            if self._lines.pop(sandbox_id, None) is None:
                return
            try:
                self._append(json.dumps({"gone": sandbox_id}).encode() + b"\n")
            except OSError as error:
                log.warning("not written down yet path=%s error=%s", self._path, error)
                self._stale = True

    def load(self) -> list[SandboxRecord]:
        """All that are whole."""
        with self._lock:
            found: dict[str, SandboxRecord] = {}
            for line in self._read():
                try:
                    data = json.loads(line)
                    if gone := data.get("gone"):
                        found.pop(gone, None)
                        self._lines.pop(gone, None)
                    else:
                        record = from_json(data)
                        found[record.id], self._lines[record.id] = record, line
                except (ValueError, TypeError, KeyError, AttributeError):
                    continue
            return list(found.values())

    def _read(self) -> list[bytes]:
        """The lines, those of older versions' files first, which the next write takes in."""
        older = sorted(self._directory.glob("*.json"))
        texts = [path.read_bytes() for path in older]
        if self._path.exists():
            texts.append(self._path.read_bytes())
        return [line + b"\n" for text in texts for line in text.split(b"\n") if line]

    def clear(self) -> None:
        """Remove the directory and what is in it."""
        with self._lock:
            self._close()
            self._lines.clear()
            if self._directory.exists():
                for path in self._directory.iterdir():
                    path.unlink()
                self._directory.rmdir()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._stale = -1, True

    def _append(self, line: bytes) -> None:
        if self._stale or self._size > COMPACT_BYTES + 4 * self._live_bytes():
            self._write_again()
        elif os.write(self._descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:
            self._size += len(line)

    def _live_bytes(self) -> int:
        return sum(map(len, self._lines.values()))

    def _write_again(self) -> None:
        """All that memory says, the newest line too."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = b"".join(self._lines.values())
        durable.write(self._path, data, sync=False)
        self._close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags)
        self._size, self._stale = len(data), False
        for older in self._directory.glob("*.json"):
            older.unlink(missing_ok=True)
