"""A gateway for tests: the real process in front of a real engine, shared by a module."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for room in ("engine", "agent", "cli", "gateway"):
    folder = str(Path(__file__).parents[1] / room)
    if folder not in sys.path:
        sys.path.insert(0, folder)

from raw_host import RawHost  # noqa: E402


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawHost]:
    """A host in no swarm, busybox on it, and a gateway: see raw_host.py."""
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces and mounts")
    from swarmlite.storage.images.store import ImageStore
    from swarmlite.testing import images
    from swarmlite.testing.registry import Registry

    folder = tmp_path_factory.mktemp("gateway-images") / "images"
    with Registry() as registry:
        ref = registry.push(images.busybox())
        image = asyncio.run(ImageStore(folder).pull(ref))
    made = RawHost(tmp_path_factory.mktemp("gateway-host"), folder, image.repo_tags[0])
    made.boot()
    try:
        yield made
    finally:
        print(made.gateway_log())
        made.stop()
