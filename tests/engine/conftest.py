"""A host per test: real supervisor, real engine process, a busybox image of a real registry."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

AGENT = Path(__file__).parents[1] / "agent"
if str(AGENT) not in sys.path:
    sys.path.insert(0, str(AGENT))

from engine_host import Busybox, EngineHost  # noqa: E402

from swarmlite.storage.images.store import ImageStore  # noqa: E402
from swarmlite.testing import images  # noqa: E402
from swarmlite.testing.registry import Registry  # noqa: E402


@pytest.fixture(scope="session")
def engine_images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busybox]:
    """An images directory with busybox in it, and the reference that pins it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces and mounts")
    folder = tmp_path_factory.mktemp("engine-images") / "images"
    with Registry() as registry:
        ref = registry.push(images.busybox())
        image = asyncio.run(ImageStore(folder).pull(ref))
    yield Busybox(folder, image.repo_digests[0])


@pytest.fixture
async def host(
    engine_images: Busybox, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[EngineHost]:
    """A host that is in no swarm."""
    host = EngineHost(tmp_path, engine_images)
    try:
        await host.start()
        yield host
    finally:
        print(host.node.log("agent"))
        print(host.node.log("supervisor"))
        await host.close()
