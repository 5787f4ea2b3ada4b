"""RUN --mount=type=cache: folders of this host that outlive builds, by their id.

Shape: FOLDER/HASH/data, beside it `id` (its text) and `used`, whose time is of its last use.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarmlite.build.copying import Copying
from swarmlite.build.run_mounts import Wanted
from swarmlite.build.sources import Source
from swarmlite.build.trees import opened
from swarmlite.storage import trees
from swarmlite.storage.images.flight import Locks, in_thread

if TYPE_CHECKING:
    from swarmlite.build.building import Build

_GONE = ".gone-"


@dataclass(frozen=True)
class CacheMount:
    """One that is here."""

    id: str
    text: str
    size: int
    created: float
    used: float
    in_use: bool


class CacheMounts:
    """Those of one host; one event loop's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in folder.iterdir():
            cut_short = not (leftover / "data").exists()
            if cut_short or leftover.name.startswith(_GONE):
                trees.discard(leftover)
        self._used: Counter[str] = Counter()
        self._locks = Locks()
        self.grown = False
        """Whether one was used since the cache was last seen to be within its bound."""

    @contextlib.asynccontextmanager
    async def taken(self, build: Build, wanted: Wanted) -> AsyncIterator[Path]:
        """The folder, alone with `sharing=locked`, another where it is taken with `private`."""
        text = wanted.options.get("id") or wanted.target
        sharing = wanted.options.get("sharing", "shared")
        async with contextlib.AsyncExitStack() as stack:
            name = _name(text)
            if sharing == "locked":
                await stack.enter_async_context(self._locks.hold(name))
            number = 0
            while sharing == "private" and self._used[name]:
                number += 1
                name = _name(f"{text}#{number}")
            self._used[name] += 1
            stack.callback(self._give_back, name)
            data = self._folder / name / "data"
            async with self._locks.hold(("making", name)):
                if not data.exists():
                    await in_thread(self._make, build, wanted, self._folder / name, text)
            (self._folder / name / "used").touch()
            yield data

    def _give_back(self, name: str) -> None:
        self.grown = True
        self._used[name] -= 1
        if not self._used[name]:
            del self._used[name]

    def _make(self, build: Build, wanted: Wanted, folder: Path, text: str) -> None:
        """An empty one, or with what `from` has. Blocks."""
        trees.remove(folder)  # one that was cut short
        folder.mkdir(mode=0o700)
        try:
            (folder / "id").write_text(text)
            scratch = folder / "new"
            scratch.mkdir(mode=0o755)
            if wanted.origin is not None:
                source = Source(wanted.options.get("source", "/").strip("/"), "")
                with opened(scratch) as root, wanted.origin.opened(build) as origin:
                    Copying(root, None, devices=False).copy(origin, source, "/", into=True)
            os.chown(scratch, wanted.number("uid", 0), wanted.number("gid", 0))
            scratch.chmod(wanted.number("mode", 0o755))
            scratch.rename(folder / "data")
        except BaseException:
            trees.sweep(folder)
            raise

    # upkeep
    async def all(self) -> list[CacheMount]:
        """All of them, with their sizes."""
        return await asyncio.to_thread(self._all)

    def _all(self) -> list[CacheMount]:
        found = []
        for folder in sorted(self._folder.iterdir()):
            with contextlib.suppress(OSError):
                used = folder / "used"
                at = used.stat().st_mtime if used.exists() else time.time()
                found.append(
                    CacheMount(
                        folder.name,
                        (folder / "id").read_text(),
                        trees.size(folder / "data"),
                        (folder / "id").stat().st_mtime,
                        at,
                        self._used[folder.name] > 0,
                    )
                )
        return found

    async def remove(self, name: str) -> bool:
        """Take one away that nobody uses now; whether it is gone."""
        if self._used[name] or "/" in name or name.startswith("."):
            return False
        gone = self._folder / f"{_GONE}{os.urandom(6).hex()}"
        try:
            (self._folder / name).rename(gone)
        except FileNotFoundError:
            return False
        trees.discard(gone)
        return True


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
