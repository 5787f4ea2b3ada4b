"""Registries that fail while they are pushed to: what was sent counts, and nothing stays locked."""

import asyncio
import io
import os
from pathlib import Path

import pytest
from aiohttp import web
from image_world import SMALL, image_of, needs_root, one_file
from registry_proxy import Proxy

from swarmlite.errors import FailedPrecondition, NotFound, SwarmliteError, Unavailable
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.store import ImageStore
from swarmlite.testing.oci import docker_archive
from swarmlite.testing.registry import Registry

pytestmark = needs_root
CHUNKED = RegistrySettings(
    backoff_s=0.01, max_backoff_s=0.05, retries=2, stall_timeout_s=1.0, upload_chunk_bytes=1 << 20
)


@pytest.fixture
async def pushing(tmp_path: Path) -> ImageStore:
    """A store with one image of a few chunks."""
    store = ImageStore(tmp_path / "images", settings=CHUNKED, limits=SMALL)
    built = image_of("pushed:1", one_file("big", os.urandom(3_500_000)), compression="none")
    await store.load(io.BytesIO(docker_archive([built])))
    return store


async def push(store: ImageStore, server: Proxy | Registry, name: str) -> None:
    target = f"{server.address}/{name}:1"
    await store.tag("pushed:1", target)
    try:
        await store.push(target)
    finally:
        await store.remove(target)


async def drop(request: web.Request) -> web.Response:
    """Take a part of what is sent, and hang up."""
    await request.content.read(1000)
    assert request.transport is not None
    request.transport.close()
    return web.Response(status=500)


async def test_a_registry_that_hangs_up_in_mid_push_gets_the_rest(
    registry: Registry, pushing: ImageStore
) -> None:
    """Every second request that carries bytes is cut: the push goes on where the registry is."""
    cut = 0

    async def fault(request: web.Request, _: int) -> web.StreamResponse | None:
        nonlocal cut
        if request.method == "PATCH":
            cut += 1
            return await drop(request) if cut % 2 else None
        return None

    async with Proxy(registry.url, fault).running() as flaky:
        await push(pushing, flaky, "flaky")
    assert cut > 2
    await pushing.pull(f"{registry.address}/flaky:1")


async def test_a_registry_that_dies_for_good_is_named_and_the_next_push_goes_well(
    registry: Registry, pushing: ImageStore
) -> None:
    async def fault(request: web.Request, _: int) -> web.StreamResponse | None:
        return await drop(request) if request.method in ("PATCH", "PUT") else None

    async with Proxy(registry.url, fault).running() as dead:
        with pytest.raises(Unavailable, match=f"registry {dead.address} "):
            await push(pushing, dead, "dead")
        with pytest.raises(NotFound):
            await pushing.pull(f"{registry.address}/dead:1")
    await push(pushing, registry, "alive")


async def test_a_registry_that_takes_nothing_is_given_up(
    registry: Registry, pushing: ImageStore
) -> None:
    """It answers slowly without end: the stall counts, and not the answer that may still come."""
    done = asyncio.Event()

    async def fault(request: web.Request, _: int) -> web.StreamResponse | None:
        if request.method != "PATCH":
            return None
        await done.wait()
        return web.Response(status=500)

    pushing.settings = RegistrySettings(
        backoff_s=0.01, retries=0, stall_timeout_s=0.3, upload_chunk_bytes=16 << 20
    )
    large = image_of("pushed:1", one_file("big", os.urandom(24_000_000)), compression="none")
    await pushing.load(io.BytesIO(docker_archive([large])))
    async with Proxy(registry.url, fault).running() as slow:
        try:
            with pytest.raises(Unavailable, match=r"does not (take what is sent|answer in time)"):
                await push(pushing, slow, "slow")
        finally:
            done.set()


async def test_a_registry_that_lies_of_what_it_has_says_so_itself_in_the_end(
    registry: Registry, pushing: ImageStore
) -> None:
    """It claims every blob: its own refusal of the manifest is what the user reads."""

    async def fault(request: web.Request, _: int) -> web.StreamResponse | None:
        if request.method == "HEAD" and "/blobs/" in request.path:
            return web.Response(status=200, headers={"Content-Length": "1"})
        return None

    async with Proxy(registry.url, fault).running() as liar:
        with pytest.raises(SwarmliteError) as refused:
            await push(pushing, liar, "liar")
    assert isinstance(refused.value, FailedPrecondition | NotFound)
    assert str(liar.address) in str(refused.value)
    await push(pushing, registry, "honest")


async def test_a_push_that_is_cancelled_leaves_the_image_free(
    registry: Registry, pushing: ImageStore
) -> None:
    """Nothing stays held by it: the image can be pushed again, and removed altogether."""
    begun = asyncio.Event()

    async def fault(request: web.Request, _: int) -> web.StreamResponse | None:
        if request.method != "PATCH":
            return None
        begun.set()
        await asyncio.sleep(30)
        return web.Response(status=500)

    async with Proxy(registry.url, fault).running() as slow:
        task = asyncio.create_task(push(pushing, slow, "cancelled"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await push(pushing, registry, "again")
    await pushing.remove("pushed:1")
    assert list(pushing.content.digests()) == []
