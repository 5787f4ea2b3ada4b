"""A node per test, in namespaces, with a busybox image that a real registry gave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from agent_node import AgentNode

from swarmlite.storage.images.store import ImageStore
from swarmlite.testing import images
from swarmlite.testing.registry import Registry


@dataclass(frozen=True)
class Busybox:
    folder: Path
    ref: str


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busybox]:
    """An images directory with busybox in it, and the reference that pins it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces and mounts")
    folder = tmp_path_factory.mktemp("images") / "images"
    with Registry() as registry:
        ref = registry.push(images.busybox())
        image = asyncio.run(ImageStore(folder).pull(ref))
    yield Busybox(folder, image.repo_digests[0])


@pytest.fixture
async def node(
    busybox: Busybox, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[AgentNode]:
    """A node in a swarm of one scripted manager, its session begun."""
    node = AgentNode(tmp_path, busybox.folder, busybox.ref)
    try:
        await node.start()
        await node.manager.session()
        yield node
    finally:
        print(node.log("agent"))
        print(node.log("supervisor"))
        await node.close()
