"""An engine's host for a module's builds, with busybox on it: see build_host.py."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

for room in ("agent", "engine"):
    folder = str(Path(__file__).parents[1] / room)
    if folder not in sys.path:
        sys.path.insert(0, folder)

from build_host import BuildHost, Kept  # noqa: E402
from engine_host import Busybox  # noqa: E402

from swarmlite.storage.images.store import ImageStore  # noqa: E402
from swarmlite.testing import images  # noqa: E402
from swarmlite.testing.registry import Registry  # noqa: E402


@pytest.fixture(scope="session")
def build_registry() -> Iterator[Registry]:
    """A real registry with busybox in it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces and mounts")
    with Registry() as registry:
        registry.push(images.busybox())
        yield registry


@pytest.fixture(scope="session")
def build_images(build_registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Busybox:
    """An images directory in which busybox has the name that Dockerfiles give it."""
    folder = tmp_path_factory.mktemp("build-images") / "images"

    async def pull() -> str:
        store = ImageStore(folder)
        image = await store.pull(f"{build_registry.address}/busybox:latest")
        await store.tag(image.id, "busybox:latest")
        return image.repo_digests[0]

    return Busybox(folder, asyncio.run(pull()))


@pytest.fixture(scope="module")
def kept_builder(build_images: Busybox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    kept = Kept(build_images, tmp_path_factory.mktemp("builder"))
    yield kept
    asyncio.run(kept.host.close())


@pytest.fixture
async def builder(kept_builder: Kept) -> AsyncIterator[BuildHost]:
    """What builds. Containers, snapshots, networks and mounts of it are gone after each test."""
    host = await kept_builder.ready()
    try:
        yield host
        await host.nothing_left()
    finally:
        print(host.node.log("agent")[-20000:])
        await host.node.hang_up()
