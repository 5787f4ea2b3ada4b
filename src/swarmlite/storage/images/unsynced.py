"""What a pull has put in its place before the disk had it: a power cut takes it away, whole.

A registry has what is pulled, so nobody waits for the disk: instead the names of layers and blobs
stand in a file, on the disk before any of them is in its place, until all has been written out. A
start after a power cut finds that file, and drops them: what is in sight is whole. After a crash of
the process alone the kernel still has everything, and writes it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from swarmlite.kernel import durable
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.syncing import DiskSync

FILE = "unsynced.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def recover(root: Path) -> list[str]:
    """What the last power cut may have damaged below `root`: digests and chain ids. Blocks.

    The caller drops these, and calls `forget` then.
    """
    try:
        found = json.loads((root / FILE).read_text())
        boot, names = found["boot"], [str(name) for name in found["names"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):  # a foreign hand: nothing can be known of it
        return []
    if boot and boot == _boot_id():
        durable.sync_disk(root)
        return []
    return names


def forget(root: Path) -> None:
    """All of it was dropped, or is on the disk. Blocks."""
    durable.remove(root / FILE)


class Unsynced:
    """The names of one store that are not known to be on the disk; one event loop's."""

    def __init__(self, root: Path, sync: DiskSync) -> None:
        self._root, self._sync = root, sync
        self._names: dict[str, None] = {}
        self._coming: Counter[str] = Counter()
        self._writing = asyncio.Lock()
        self._flushing: asyncio.Task[None] | None = None

    async def expect(self, names: Collection[str]) -> None:
        """Before any of these gets its place; `arrived` must follow. Raises OSError."""
        self._coming.update(names)
        try:
            async with self._writing:
                if not self._names.keys() >= set(names):
                    self._names.update(dict.fromkeys(names))
                    await self._write()
        except BaseException:
            self.arrived(names)
            raise

    def arrived(self, names: Collection[str]) -> None:
        """Of these, what comes has come."""
        self._coming.subtract(names)
        self._coming += Counter()

    def flush_soon(self) -> None:
        """Have everything brought to the disk, in the background."""
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_quietly())

    async def settled(self, names: Collection[str]) -> None:
        """Wait until none of these is in danger. Raises OSError."""
        if not self._names.keys().isdisjoint(names):
            await self.flush()

    async def flush(self) -> None:
        """Whatever has arrived is on the disk then, and so is all else. Raises OSError."""
        gone = [name for name in self._names if name not in self._coming]
        await self._sync()
        if not gone:
            return
        async with self._writing:
            for name in gone:
                if name not in self._coming:  # else it came once more
                    self._names.pop(name, None)
            await self._write()

    async def _flush_quietly(self) -> None:
        with suppress(OSError):  # the names stay, and the next flush tries again
            await self.flush()

    async def _write(self) -> None:
        if not self._names:
            await in_thread(forget, self._root)
            return
        text = json.dumps({"boot": _boot_id(), "names": list(self._names)})
        await in_thread(durable.write, self._root / FILE, text.encode())


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:  # no proc: nothing is known to be of this boot
        return ""
