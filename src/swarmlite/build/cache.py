"""Which layer a step made: by what it depends on, across builds and restarts.

One file, a JSON object a line: {"key", "chain": [chain ids], "created", "size", "text", "used",
"count"} is an entry, a later line of a key overrules it, {"gone": KEY} ends it; {"content": KEY,
"digest"} remembers what files of some layers come to. It is appended to, not synced (a power cut
costs a rebuild), and a torn last line is ignored. Entries keep their layers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from swarmlite.kernel import durable
from swarmlite.storage.images.flight import Locks

log = logging.getLogger(__name__)
_COMPACT_BYTES = 1 << 20
_MAX_CONTENTS = 2000
_MAX_ENTRIES = 20_000


@dataclass(frozen=True)
class Entry:
    """One step's layer, the topmost of `chain`; `created` is RFC 3339, `used` since the epoch."""

    key: str
    chain: tuple[str, ...]
    created: str
    size: int
    text: str
    used: float = 0.0
    count: int = 0


def key_of(*parts: object) -> str:
    """sha256 of what a step depends on: values that JSON holds, mappings by their keys' order."""
    data = json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Pins:
    """Layers that one build counts on."""

    def __init__(self) -> None:
        self.chains: Counter[str] = Counter()

    def add(self, *chain: str) -> None:
        """Keep them until the build ends."""
        self.chains.update(chain)


class Cache:
    """The entries of one host; one event loop's, but for `used`, which any thread may ask."""

    def __init__(self, path: Path, has_layer: Callable[[str], bool], *, remember: bool) -> None:
        """`has_layer` says which layers are here. Without `remember` nothing outlives a restart."""
        self._path, self._has_layer, self._remember = path, has_layer, remember
        self.entries: dict[str, Entry] = {}
        self.locks = Locks()
        self._contents: dict[str, str] = {}
        self._pins: list[Pins] = []
        self._size = 0
        self._torn = False
        """Whether the file may end in half a line: of a disk that was full, or of a crash."""
        self.grown = True
        """Whether entries came since it was last seen within its bound; so far it was not."""
        if remember:
            self._load()

    # asking
    def get(self, key: str) -> Entry | None:
        """The entry, where all of its layers are here; it counts as used now."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        if not all(self._has_layer(chain_id) for chain_id in entry.chain):
            self.drop(key)
            return None
        entry = replace(entry, used=time.time(), count=entry.count + 1)
        self.entries[key] = entry  # on the disk with the next that is written
        return entry

    def content(self, key: str) -> str:
        """What `remember_content` was told; empty where it was not."""
        return self._contents.get(key, "")

    def used(self) -> set[str]:
        """Chain ids that entries and builds need."""
        found = {chain_id for entry in list(self.entries.values()) for chain_id in entry.chain}
        for pins in list(self._pins):
            found.update(list(pins.chains))
        return found

    def pinned(self) -> set[str]:
        """Chain ids that builds count on now."""
        return {chain_id for pins in self._pins for chain_id in pins.chains}

    # changing
    @contextlib.contextmanager
    def pins(self) -> Iterator[Pins]:
        """For one build."""
        pins = Pins()
        self._pins.append(pins)
        try:
            yield pins
        finally:
            self._pins.remove(pins)

    def put(self, key: str, chain: Sequence[str], created: str, size: int, text: str) -> Entry:
        """Remember a step; a full disk is said in the log."""
        if len(self.entries) >= _MAX_ENTRIES:
            self.drop(min(self.entries.values(), key=lambda one: one.used).key)
        entry = Entry(key, tuple(chain), created, size, text, time.time())
        self.entries[key] = entry
        self.grown = True
        self._append(asdict(entry))
        return entry

    def remember_content(self, key: str, digest: str) -> None:
        """What some files of some layers come to."""
        if len(self._contents) >= _MAX_CONTENTS:
            del self._contents[next(iter(self._contents))]
        self._contents[key] = digest
        self._append({"content": key, "digest": digest})

    def drop(self, key: str) -> None:
        """Forget an entry; its layer goes with the next collection, where nothing else needs it."""
        if self.entries.pop(key, None) is not None:
            self._append({"gone": key})

    def save(self) -> None:
        """Write it again, with when each was used. Blocks; a full disk is said in the log."""
        if not self._remember:
            return
        # Lists first: the event loop may change both meanwhile.
        lines: list[dict[str, Any]] = [asdict(entry) for entry in list(self.entries.values())]
        contents = list(self._contents.items())
        lines += [{"content": key, "digest": value} for key, value in contents]
        data = "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines).encode()
        try:
            durable.write(self._path, data, sync=False)
            self._size, self._torn = len(data), False
        except OSError as error:
            log.warning("build cache not written path=%s error=%s", self._path, error)

    def _append(self, record: dict[str, Any]) -> None:
        if not self._remember:
            return
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        if self._size > max(_COMPACT_BYTES, 1000 * len(self.entries)):
            self.save()
            return
        try:
            with self._path.open("ab") as file:
                file.write(b"\n" * self._torn + line)
            self._size += len(line)
            self._torn = False
        except OSError as error:
            self._torn = True
            log.warning("build cache not written path=%s error=%s", self._path, error)

    def _load(self) -> None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        self._size, self._torn = len(data), not data.endswith(b"\n")
        for line in data.split(b"\n"):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                self._replay(json.loads(line))
        for key, entry in list(self.entries.items()):
            if not all(self._has_layer(chain_id) for chain_id in entry.chain):
                del self.entries[key]

    def _replay(self, record: dict[str, Any]) -> None:
        if "gone" in record:
            self.entries.pop(record["gone"], None)
        elif "content" in record:
            self._contents[record["content"]] = record["digest"]
        else:
            entry = Entry(**{**record, "chain": tuple(record["chain"])})
            self.entries[entry.key] = entry
