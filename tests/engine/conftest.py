"""A host per module: real supervisor, real engine process, a busybox image of a real registry.

What a test made is removed; a host that is not as it was, or of a test that failed, is replaced.
"""

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

from engine_host import Busybox, EngineHost, KeptHost  # noqa: E402

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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    if outcome.get_result().failed:  # type: ignore[attr-defined]
        item.failed = True  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def kept(engine_images: Busybox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptHost]:
    """The host of a module's tests, for whoever finds it as it was at first."""
    kept = KeptHost(engine_images, tmp_path_factory)
    yield kept
    asyncio.run(kept.drop())


@pytest.fixture
async def host(kept: KeptHost, request: pytest.FixtureRequest) -> AsyncIterator[EngineHost]:
    """A host that is in no swarm, with busybox on it and nothing else."""
    host = await kept.ready()
    try:
        yield host
    finally:
        print(host.node.log("agent"))
        print(host.node.log("supervisor"))
        await kept.wipe(again=not getattr(request.node, "failed", False))
