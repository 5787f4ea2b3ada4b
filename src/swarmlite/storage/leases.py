"""Leases: who needs which images, volumes and blobs. Nothing is collected while a lease holds it.

One file, a JSON object a line: {"hold": OWNER, "images": [...], "volumes": [...], "contents":
[...]} adds to what an owner holds, {"release": OWNER} ends it. It is appended to, written again
when most of it is of the past, and a torn last line (a power cut) is ignored.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from swarmlite.errors import FailedPrecondition, ResourceExhausted, SwarmliteError
from swarmlite.kernel import durable

log = logging.getLogger(__name__)

PULLS = "pull/"
"""Begins the names of owners that hold something until its container does; a start ends them."""
_COMPACT_BYTES = 1 << 20


@dataclass
class Held:
    """What one owner holds: ids of images, names of volumes, digests of blobs."""

    images: set[str] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)
    contents: set[str] = field(default_factory=set)


class Leases:
    """The leases in one file, which one process at a time may use, from any of its threads.

    An owner is a text of its maker's ("container/ID", "pull/N"). A hold that is not synced is safe
    from a crash of the process and may be lost by a power cut: owners that have records of their
    own hold again what these name when they start. While the disk is full, leases hold in memory
    and are written as soon as there is room.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owners: dict[str, Held] = {}
        self._by_name: dict[tuple[str, str], dict[str, None]] = {}
        self._changing = threading.RLock()
        self._size = 0
        self._stale = False  # the file lacks something that memory has
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._load()
        self._descriptor = -1
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:  # a full disk: in memory until there is room
            log.warning("leases not on disk yet path=%s error=%s", path, error)
            self._stale = True

    def close(self) -> None:
        """Release the file; the leases stay."""
        with self._changing:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def hold(
        self,
        owner: str,
        *,
        images: Iterable[str] = (),
        volumes: Iterable[str] = (),
        contents: Iterable[str] = (),
        sync: bool = False,
    ) -> None:
        """Add to what `owner` holds; with `sync` it is on the disk when this returns.

        Raises ResourceExhausted or FailedPrecondition when that cannot be; then nothing is added.
        Without `sync` it never fails.
        """
        new = Held(set(images), set(volumes), set(contents))
        with self._changing:
            held = self._owners.get(owner)
            if held and _covers(held, new) and not sync:
                return
            self._append(_record(owner, new), sync)
            self._add(owner, new)

    def release(self, owner: str) -> None:
        """End all that `owner` holds; safe to repeat, never fails."""
        with self._changing:
            if self._drop(owner):
                self._append({"release": owner}, False)

    def holders(self, *, image: str = "", volume: str = "", content: str = "") -> list[str]:
        """The owners that hold the image of this id, the volume of this name, the blob."""
        with self._changing:
            found: dict[str, None] = {}
            for kind, name in (("images", image), ("volumes", volume), ("contents", content)):
                found.update(self._by_name.get((kind, name), {}))
            return list(found)

    def held(self, owner: str) -> Held:
        """What an owner holds now."""
        with self._changing:
            return self._owners.get(owner, Held())

    def owners(self, prefix: str = "") -> list[str]:
        """All owners whose name begins so: who starts releases those that it knows nothing of."""
        with self._changing:
            return [owner for owner in self._owners if owner.startswith(prefix)]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """No lease begins or ends meanwhile: to look at holders and act on what was seen."""
        with self._changing:
            yield

    def _add(self, owner: str, new: Held) -> None:
        kept = self._owners.setdefault(owner, Held())
        for kind, names in vars(new).items():
            getattr(kept, kind).update(names)
            for name in names:
                self._by_name.setdefault((kind, name), {})[owner] = None

    def _drop(self, owner: str) -> bool:
        held = self._owners.pop(owner, None)
        if held is None:
            return False
        for kind, names in vars(held).items():
            for name in names:
                owners = self._by_name[kind, name]
                del owners[owner]
                if not owners:
                    del self._by_name[kind, name]
        return True

    def _append(self, record: dict[str, object], sync: bool) -> None:
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            if self._stale or self._size > max(_COMPACT_BYTES, 4 * self._live_bytes()):
                self._compact(sync)
            # one write: a line is whole, or cut where the disk ended
            if os.write(self._descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size += len(line)
            if sync:
                os.fdatasync(self._descriptor)
        except OSError as error:
            self._stale = True
            if sync:
                raise _translated(error, self._path) from error
            log.warning("leases not on disk yet path=%s error=%s", self._path, error)

    def _live_bytes(self) -> int:
        return 200 * len(self._owners)

    def _compact(self, sync: bool) -> None:
        lines = [json.dumps(_record(owner, held)) for owner, held in self._owners.items()]
        data = "".join(f"{line}\n" for line in lines).encode()
        durable.write(self._path, data, sync=sync)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._size, self._stale = len(data), False

    def _load(self) -> None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        for line in data.split(b"\n"):
            try:
                self._replay(json.loads(line))
            except (ValueError, TypeError, AttributeError):
                self._stale = self._stale or bool(line)  # torn: the next write makes it whole
        self._size = len(data)

    def _replay(self, record: dict[str, object]) -> None:
        if "release" in record:
            self._drop(str(record["release"]))
            return
        new = Held()
        for kind, names in vars(new).items():
            values = record.get(kind)
            if isinstance(values, list):
                names.update(map(str, values))
        self._add(str(record["hold"]), new)


def holding(holders: list[str]) -> str:
    """Owners ("container/ID") as a phrase of a message."""
    if not holders:
        return "a container"
    kind, _, name = holders[0].partition("/")
    more = f" and {len(holders) - 1} more" if len(holders) > 1 else ""
    return f"{kind} {name[:12]}{more}" if kind in ("container", "build") else f"a {kind}{more}"


def _record(owner: str, held: Held) -> dict[str, object]:
    return {"hold": owner, **{key: sorted(value) for key, value in vars(held).items() if value}}


def _covers(held: Held, new: Held) -> bool:
    return (
        new.images <= held.images and new.volumes <= held.volumes and new.contents <= held.contents
    )


def _translated(error: OSError, path: Path) -> SwarmliteError:
    if durable.is_full(error):
        return ResourceExhausted(f"no space left on the disk of {path.parent}")
    return FailedPrecondition(f"leases cannot be written to {path}: {error.strerror}")
