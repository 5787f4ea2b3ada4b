"""Images for tasks, against a real registry."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from swarmlite.engine.images import TaskImages
from swarmlite.errors import NotFound
from swarmlite.storage.images.store import ImageStore
from swarmlite.testing import images
from swarmlite.testing.registry import Registry


async def test_missing_images_are_named_and_many_tasks_share_one_pull(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    wanted = TaskImages(store)
    async with Registry() as registry:
        with pytest.raises(NotFound, match=r"No such image: 127.*/no/such:tag"):
            await wanted.ensure(f"{registry.address}/no/such:tag", "")
        ref = await asyncio.to_thread(registry.push, images.busybox())
        found = await asyncio.gather(*(wanted.ensure(ref, "") for _ in range(20)))
        assert len({image.id for image in found}) == 1
    # Its registry is gone: what is here serves, and nobody waits for the registry again.
    image = await wanted.ensure(ref, "")
    assert image.id == found[0].id
    assert (await TaskImages(store).ensure(image.repo_digests[0], "")).id == image.id
