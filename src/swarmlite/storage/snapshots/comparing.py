"""What a container changed, found by comparing two whole trees."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from swarmlite.errors import ResourceExhausted
from swarmlite.kernel import paths
from swarmlite.storage import trees
from swarmlite.storage.snapshots.differences import Pair, found_at
from swarmlite.storage.snapshots.tars import WHITEOUT, TarStream
from swarmlite.storage.snapshots.types import Change
from swarmlite.storage.trees import Entry


def changes(pair: Pair, limit: int) -> list[Change]:
    """Added, changed and deleted names, sorted; raises ResourceExhausted above `limit`."""
    found: dict[str, Change] = {}

    def add(path: str, kind: str) -> None:
        found[path] = Change(path, "A" if kind == "A" else "D" if kind == "D" else "C")
        if len(found) > limit:
            raise ResourceExhausted(f"more than {limit} files differ from the image")

    def above(entry: Entry) -> None:
        for depth in range(1, len(entry.parts)):
            path = "/" + "/".join(entry.parts[:depth])
            if path not in found:
                add(path, "C")

    for entry in trees.walk(pair.upper):
        before = found_at(pair.below, entry)
        if before is None or not _same(entry, before, pair):
            add("/" + entry.path, "A" if before is None else "C")
            above(entry)
    for entry in _deleted(pair):
        add("/" + entry.path, "D")
        above(entry)
    return sorted(found.values())


def usage(pair: Pair) -> int:
    """The bytes of files that are new or changed, each counted once."""
    total = 0
    linked: set[int] = set()
    for entry in trees.walk(pair.upper):
        status = entry.status
        if not stat.S_ISREG(status.st_mode) or status.st_ino in linked:
            continue
        if status.st_nlink > 1:
            linked.add(status.st_ino)
        before = found_at(pair.below, entry)
        if before is None or not _same(entry, before, pair):
            total += status.st_size
    return total


def tar(pair: Pair, stream: TarStream) -> Iterator[bytes]:
    """The difference as a layer's tar."""
    for entry in trees.walk(pair.upper):
        before = found_at(pair.below, entry)
        if before is None or not _same(entry, before, pair):
            yield from stream.member(entry)
    for entry in _deleted(pair):
        folder = "".join(f"{part}/" for part in entry.parts[:-1])
        yield stream.marker(f"{folder}{WHITEOUT}{entry.name}")
    yield stream.end()


def _deleted(pair: Pair) -> Iterator[Entry]:
    """What is gone, without what was in it."""
    gone: tuple[str, ...] | None = None
    for entry in trees.walk(pair.below):
        if gone is not None and entry.parts[: len(gone)] == gone:
            continue
        now = found_at(pair.upper, entry)
        if now is None and _folder_is_there(pair.upper, entry):
            yield entry
            if entry.is_directory:
                gone = entry.parts


def _folder_is_there(root: int, entry: Entry) -> bool:
    """Whether what held the name is still a directory: else that was what changed."""
    folder = "/".join(entry.parts[:-1])
    try:
        fd = paths.open_in_root(root, folder, follow=False)
    except OSError:
        return False
    os.close(fd)
    return True


def _same(entry: Entry, before: os.stat_result, pair: Pair) -> bool:
    now = entry.status
    facts = ("st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_rdev")
    if any(getattr(now, fact) != getattr(before, fact) for fact in facts):
        return False
    if stat.S_ISREG(now.st_mode):
        return now.st_size == before.st_size
    if stat.S_ISLNK(now.st_mode):
        return os.readlink(entry.name, dir_fd=entry.folder) == _link(pair.below, entry)
    return True


def _link(root: int, entry: Entry) -> str:
    folder = paths.open_in_root(root, "/".join(entry.parts[:-1]), follow=False)
    try:
        return os.readlink(entry.name, dir_fd=folder)
    finally:
        os.close(folder)
