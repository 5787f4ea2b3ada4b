"""The cache comes back within its bound once what kept it above has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmlite.build.cache import Cache
from swarmlite.build.cache_mounts import CacheMounts
from swarmlite.build.run_mounts import Wanted
from swarmlite.build.upkeep import KEEP, Upkeep
from swarmlite.storage.images.store import ImageStore

pytestmark = pytest.mark.timeout(60)
CREATED = "2020-01-01T00:00:00Z"
WANTED = Wanted("cache", "/filled", {})


class Host:
    """A host's cache, without builds."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "mounts"
        self.cache = Cache(root / "cache", lambda _: True, remember=True)
        self.mounts = CacheMounts(self.folder)
        self.upkeep = Upkeep(self.cache, self.mounts, ImageStore(root / "images"))

    def step(self, name: str) -> None:
        """One was done, and its layer takes 5 KB."""
        self.cache.put(name, [f"layer-{name}"], CREATED, 5000, f"RUN {name}")

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Kept within its bound meanwhile, which it is at first."""
        running = asyncio.create_task(self.upkeep.run())
        try:
            self.step("first")
            self.upkeep.wake()
            while self.cache.entries or self.cache.grown:
                await asyncio.sleep(0.005)
            yield
        finally:
            running.cancel()
            await asyncio.wait((running,))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv(KEEP, "1k")
    yield Host(tmp_path)


async def test_what_a_build_counted_on_goes_when_that_build_ends(host: Host) -> None:
    """Another one had ended before it, and could not take that away."""
    async with host.kept():
        with host.cache.pins() as pins:
            pins.add("layer-long")
            host.step("long")
            host.step("short")
            host.upkeep.wake()
            while "short" in host.cache.entries:
                await asyncio.sleep(0.005)
            assert "long" in host.cache.entries
        host.upkeep.wake()
        while host.cache.entries:
            await asyncio.sleep(0.005)


async def test_a_cache_mount_that_a_failing_step_filled_is_pruned(host: Host) -> None:
    """Such a step adds no entry."""
    nobody: Any = None
    async with host.kept():
        async with host.mounts.taken(nobody, WANTED) as folder:
            (folder / "filled").write_bytes(bytes(20_000))
        assert await host.mounts.all()
        host.upkeep.wake()
        while await host.mounts.all():
            await asyncio.sleep(0.005)


async def test_a_prune_that_failed_is_made_up_for(host: Host) -> None:
    host.step("one")
    host.folder.rmdir()
    host.upkeep.wake()
    with pytest.raises(FileNotFoundError):
        await host.upkeep.run()
    host.folder.mkdir()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(host.upkeep.run())
        host.upkeep.wake()
        while host.cache.entries:
            await asyncio.sleep(0.005)
        running.cancel()
