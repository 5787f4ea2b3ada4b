"""images.json: which images there are, under which names."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from swarmlite.errors import NotFound
from swarmlite.kernel import durable
from swarmlite.model.references import Reference

log = logging.getLogger(__name__)


@dataclass
class Entry:
    """One image: names as Docker shows them, manifests' digests as NAME@DIGEST.

    `manifest` is the digest of its manifest, `index` of the index that led to it, and `blobs` are
    those of all that it came as: indexes, manifest, config, layers. Images of older stores have
    none. `added` and `used` are seconds
    since the epoch: when it came, and when it was last asked for by who runs it.
    """

    id: str
    config: dict[str, Any]
    layers: list[str]
    size_bytes: int
    tags: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    platform_digests: list[str] = field(default_factory=list)
    manifest: str = ""
    index: str = ""
    blobs: list[str] = field(default_factory=list)
    added: float = 0.0
    used: float = 0.0
    parent: str = ""
    """The id of the image that it was made on here."""

    @property
    def names(self) -> list[str]:
        """Every name that keeps it: tags, and digests without a tag."""
        return [*self.tags, *self.digests]


class Index:
    """The images below one file; a change is on disk once a `save` that began after it returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = itertools.count(1)
        self._written = 0
        self._writing = threading.Lock()
        self.entries: dict[str, Entry] = {}
        self.listeners: list[Callable[[], None]] = []
        """Called when images came, went or were named."""
        try:
            for raw in json.loads(path.read_text())["images"]:
                self._read(raw)
        except FileNotFoundError:
            pass
        except (ValueError, TypeError, KeyError):
            # only a foreign hand damages what is renamed into place; images can be pulled again
            path.rename(path.with_suffix(".damaged"))
            self.entries = {}

    def _read(self, raw: dict[str, Any]) -> None:
        known = {field.name for field in fields(Entry)}
        try:
            entry = Entry(**{key: value for key, value in raw.items() if key in known})
        except TypeError:
            log.warning("an image of the index is damaged id=%s", raw.get("id", "unknown"))
        else:
            self.entries[entry.id] = entry

    def add(
        self,
        entry: Entry,
        *,
        tag: str = "",
        digest: str = "",
        platform_digest: str = "",
        undo: ExitStack | None = None,
    ) -> Entry:
        """Put `entry` there, or more names on the one that is; a tag moves from another image.

        `undo`, closed where that comes to no disk, takes the image and its tag away again.
        """
        known, former = entry.id in self.entries, None
        kept = self.entries.setdefault(entry.id, entry)
        if kept is not entry and entry.manifest:
            # what a registry sent counts for more than what was made for an archive
            if digest or not kept.manifest:
                kept.manifest, kept.index = entry.manifest, entry.index
            kept.blobs = list(dict.fromkeys([*kept.blobs, *entry.blobs]))
        kept.used = max(kept.used, entry.used)
        if tag:
            for other in self.entries.values():
                if tag in other.tags and other is not kept:
                    other.tags.remove(tag)
                    former = other
        if undo is not None:
            undo.callback(self._undo, kept, known, "" if tag in kept.tags else tag, former)
        _append(kept.tags, tag)
        _append(kept.digests, digest)
        _append(kept.platform_digests, platform_digest)
        return kept

    def _undo(self, kept: Entry, known: bool, tag: str, former: Entry | None) -> None:
        kept.tags = [name for name in kept.tags if name != tag]
        if former is not None and not any(tag in other.tags for other in self.entries.values()):
            former.tags.append(tag)
        if not known and not kept.tags:
            self.entries.pop(kept.id, None)

    def find(self, text: str) -> Entry:
        """By id (whole, or a prefix), NAME[:TAG] or NAME[:TAG]@DIGEST; raises NotFound."""
        if entry := self._by_id(text):
            return entry
        reference = Reference.parse(text)
        if reference.digest:
            pinned = reference.pinned(reference.digest)
            for entry in self.entries.values():
                if pinned in entry.digests or pinned in entry.platform_digests:
                    return entry
            for entry in self.entries.values():  # made here: no registry has given it a digest
                ours = reference.digest in (entry.manifest, entry.index)
                if ours and _named_in(entry.tags, reference.name):
                    return entry
        else:
            for entry in self.entries.values():
                if reference.tagged in entry.tags:
                    return entry
        raise NotFound(f"no such image: {text}")

    def _by_id(self, text: str) -> Entry | None:
        if text in self.entries:
            return self.entries[text]
        prefix = text.removeprefix("sha256:")
        if len(prefix) < 4 or not set(prefix) <= set("0123456789abcdef"):
            return None
        if text == prefix and any(f"{text}:latest" in e.tags for e in self.entries.values()):
            return None  # a name that looks like an id
        found = [e for key, e in self.entries.items() if key.startswith(f"sha256:{prefix}")]
        return found[0] if len(found) == 1 else None

    async def save(self) -> None:
        """Write the file in a thread. Raises OSError; cancelled: it is written all the same."""
        for listener in self.listeners:
            listener()
        entries = [
            {key: list(value) if isinstance(value, list) else value for key, value in pairs}
            for pairs in (vars(entry).items() for entry in self.entries.values())
        ]
        await asyncio.shield(asyncio.to_thread(self._write, next(self._numbers), entries))

    def _write(self, number: int, entries: list[dict[str, Any]]) -> None:
        with self._writing:
            if number > self._written:  # else a newer one is there already
                durable.write(self._path, json.dumps({"images": entries}).encode())
                self._written = number


def _named_in(tags: list[str], repository: str) -> bool:
    return any(tag.rpartition(":")[0] == repository for tag in tags)


def _append(names: list[str], name: str) -> None:
    if name and name not in names:
        names.append(name)
