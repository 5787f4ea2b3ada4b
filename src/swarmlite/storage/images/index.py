"""images.json: which images there are, under which names."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarmlite.errors import NotFound
from swarmlite.model.references import Reference


@dataclass
class Entry:
    """One image: names as Docker shows them, manifests' digests as NAME@DIGEST."""

    id: str
    config: dict[str, Any]
    layers: list[str]
    size_bytes: int
    tags: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    platform_digests: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Every name that keeps it: tags, and digests without a tag."""
        return [*self.tags, *self.digests]


class Index:
    """The images below one file; each change is on disk when its call returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries: dict[str, Entry] = {}
        try:
            document = json.loads(path.read_text())
            for raw in document["images"]:
                entry = Entry(**raw)
                self.entries[entry.id] = entry
        except FileNotFoundError:
            pass
        except (ValueError, TypeError, KeyError):
            # only a foreign hand damages what is renamed into place; images can be pulled again
            path.rename(path.with_suffix(".damaged"))
            self.entries = {}

    def add(
        self, entry: Entry, *, tag: str = "", digest: str = "", platform_digest: str = ""
    ) -> Entry:
        """Put `entry` there, or more names on the one that is; a tag moves from another image."""
        kept = self.entries.setdefault(entry.id, entry)
        if tag:
            for other in self.entries.values():
                if tag in other.tags and other is not kept:
                    other.tags.remove(tag)
            _append(kept.tags, tag)
        _append(kept.digests, digest)
        _append(kept.platform_digests, platform_digest)
        self.save()
        return kept

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

    def save(self) -> None:
        """Write the file: beside it, then renamed over it."""
        document = {"images": [vars(entry) for entry in self.entries.values()]}
        scratch = self._path.with_suffix(".new")
        with scratch.open("w") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(self._path)


def _append(names: list[str], name: str) -> None:
    if name and name not in names:
        names.append(name)
