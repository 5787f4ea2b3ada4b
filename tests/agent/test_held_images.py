"""What a node tells its managers of its images: one that was restarted hears all of it again."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from pathlib import Path

import pytest

from swarmlite.agent.carrying.holding import Holding
from swarmlite.proto.dispatcher_pb2 import HeldImages
from swarmlite.storage.images.store import ImageStore
from swarmlite.testing.oci import BuiltImage, TarWriter, docker_archive, layer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: layers have owners")


def made(name: str) -> BuiltImage:
    tar = TarWriter()
    tar.file("file", name)
    return BuiltImage(f"{name}:1", (layer(tar.tar()),), {"Cmd": ["/none"]})


async def test_each_session_is_told_of_all_images_and_then_of_changes(tmp_path: Path) -> None:
    """Managers keep it in memory only, so whichever a session is with knows nothing before."""
    store = ImageStore(tmp_path / "images")
    holding = Holding(store)

    async def load(name: str) -> str:
        (image,) = await store.load(io.BytesIO(docker_archive([made(name)])))
        return image.manifest

    one = await load("one")
    async with contextlib.aclosing(holding.messages()) as session:  # type: ignore[type-var]
        async with asyncio.timeout(60):
            told: HeldImages = (await anext(session)).images
            assert (told.complete, list(told.added)) == (True, [one])
            two = await load("two")
            told = (await anext(session)).images
            assert (told.complete, list(told.added), list(told.removed)) == (False, [two], [])
    async with contextlib.aclosing(holding.messages()) as session:  # type: ignore[type-var]
        async with asyncio.timeout(60):
            told = (await anext(session)).images
            assert (told.complete, set(told.added)) == (True, {one, two})
