"""What a container changed, read from overlay's upper directory: as a list, or as a layer."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from swarmlite.errors import ResourceExhausted
from swarmlite.kernel import paths
from swarmlite.storage import trees
from swarmlite.storage.snapshots.tars import OPAQUE, WHITEOUT, TarStream
from swarmlite.storage.snapshots.types import Change

_OPAQUE_XATTR = "trusted.overlay.opaque"
_LOOK = os.O_PATH | os.O_NOFOLLOW
_STRICT = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS | paths.RESOLVE_NO_MAGICLINKS
_MAX_PATH = 4095


@dataclass(frozen=True)
class Pair:
    """Descriptors of an upper directory, and of what is seen without it."""

    upper: int
    below: int


def changes(pair: Pair, limit: int) -> list[Change]:
    """Added, changed and deleted names, sorted; raises ResourceExhausted above `limit`."""
    found: dict[str, Change] = {}
    for entry in trees.walk(pair.upper):
        change = _change(pair, entry)
        if change is None:
            continue
        _add(found, change, limit)
        for depth in range(1, len(entry.parts)):  # what holds a change is changed
            above = "/" + "/".join(entry.parts[:depth])
            if above not in found:
                _add(found, Change(above, "C"), limit)
        if change.kind == "C" and _is_opaque(entry):
            for name in _hidden(pair, entry):
                _add(found, Change(f"{change.path}/{name}", "D"), limit)
    return sorted(found.values())


def _add(found: dict[str, Change], change: Change, limit: int) -> None:
    found[change.path] = change
    if len(found) > limit:
        raise ResourceExhausted(f"more than {limit} files differ from the image")


def _change(pair: Pair, entry: trees.Entry) -> Change | None:
    path = "/" + entry.path
    if entry.is_whiteout:
        return Change(path, "D")
    before = _below(pair, entry)
    if before is None:
        return Change(path, "A")
    if entry.is_directory and stat.S_ISDIR(before.st_mode) and _same(before, entry.status):
        return Change(path, "C") if _is_opaque(entry) else None
    return Change(path, "C")


def _same(a: os.stat_result, b: os.stat_result) -> bool:
    """Whether a directory was only copied up for what is in it."""
    return (a.st_mode, a.st_uid, a.st_gid, a.st_mtime_ns) == (
        b.st_mode, b.st_uid, b.st_gid, b.st_mtime_ns,
    )  # fmt: skip


def _below(pair: Pair, entry: trees.Entry) -> os.stat_result | None:
    return found_at(pair.below, entry)


def found_at(root: int, entry: trees.Entry) -> os.stat_result | None:
    """What another tree has at the place of an entry; no link on the way leads anywhere."""
    path = os.fsencode(entry.path)
    if len(path) > _MAX_PATH:
        raise OSError(errno.ENAMETOOLONG, "its directories nest too deeply to be named")
    try:
        fd = paths.openat2(root, path, _LOOK, _STRICT)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
            return None
        raise
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _is_opaque(entry: trees.Entry) -> bool:
    if not entry.is_directory:
        return False
    fd = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.folder)
    try:
        return os.getxattr(fd, _OPAQUE_XATTR) == b"y"
    except OSError:
        return False
    finally:
        os.close(fd)


def _hidden(pair: Pair, entry: trees.Entry) -> list[str]:
    """What an opaque directory hides and does not bring itself."""
    try:
        below = paths.openat2(pair.below, os.fsencode(entry.path), paths.DIRECTORY, _STRICT)
    except OSError:
        return []
    try:
        names = set(os.listdir(below))  # noqa: PTH208 - of a descriptor
    finally:
        os.close(below)
    fd = os.open(entry.name, paths.DIRECTORY | os.O_NOFOLLOW, dir_fd=entry.folder)
    try:
        return sorted(names - set(os.listdir(fd)))  # noqa: PTH208 - of a descriptor
    finally:
        os.close(fd)


def tar(pair: Pair, stream: TarStream) -> Iterator[bytes]:
    """The difference as a layer's tar, of equal ones the same; directories come before what is in
    them.
    """
    for entry in trees.walk(pair.upper, ordered=True):
        folder = "".join(f"{part}/" for part in entry.parts[:-1])
        if entry.is_whiteout:
            yield stream.marker(f"{folder}{WHITEOUT}{entry.name}")
            continue
        yield from stream.member(entry)
        if _is_opaque(entry) and _below(pair, entry) is not None:
            yield stream.marker(f"{entry.path}/{OPAQUE}")
    yield stream.end()
