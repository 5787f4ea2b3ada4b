"""Images for tasks, against a real registry."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from swarmlite.engine.images import TaskImages
from swarmlite.errors import FailedPrecondition, NotFound
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


async def test_an_image_that_a_task_waits_for_cannot_be_removed(
    tmp_path: Path,
) -> None:
    """From the moment that it is found or pulled, whoever tries to remove it all the time."""
    async with Registry() as registry:
        store = ImageStore(tmp_path / "own")
        ref = await asyncio.to_thread(registry.push, images.busybox())
        going = True

        async def remover() -> None:
            while going:
                with contextlib.suppress(NotFound, FailedPrecondition):
                    await store.remove(ref)
                await asyncio.sleep(0)

        removing = asyncio.create_task(remover())
        try:
            for turn in range(5):
                found = await TaskImages(store).ensure(ref, "", owner=f"pull/{turn}")
                await asyncio.sleep(0)
                assert store.use(found.id, f"container/{turn}") == found
                store.leases.release(f"pull/{turn}")
                await asyncio.sleep(0)
                assert store.get(found.id) == found
                store.leases.release(f"container/{turn}")
        finally:
            going = False
            await removing
