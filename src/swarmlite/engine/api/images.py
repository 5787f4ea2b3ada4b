"""The `Images` service: this host's images."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from swarmlite.errors import InvalidSpec
from swarmlite.proto import images_pb2 as pb
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.images_pb2_grpc import ImagesServicer
from swarmlite.proto.types_pb2 import Platform as PlatformMessage
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Image, Platform, Progress

Context = Any  # grpc.aio.ServicerContext, which has no types


class ImagesService(ImagesServicer):
    """See images.proto; errors are swarmlite's, translated by the server's interceptor."""

    def __init__(self, store: ImageStore) -> None:
        """`store` is the host's; leases say which images containers use."""
        self._store = store

    async def Pull(
        self, request: pb.PullImageRequest, context: Context
    ) -> AsyncIterator[pb.ImageProgress]:
        """Progress, then the image."""
        platform = None
        if request.platform.os or request.platform.architecture:
            platform = Platform(request.platform.os or "linux", request.platform.architecture)
        auth = RegistryAuth.from_base64(request.registry_auth)

        async def work(progress: Callable[[Progress], None]) -> list[Image]:
            ref = request.ref
            return [await self._store.pull(ref, auth=auth, platform=platform, progress=progress)]

        async for message in _with_progress(work):
            yield message

    async def Load(
        self, request: AsyncIterator[pb.LoadImageRequest], context: Context
    ) -> AsyncIterator[pb.ImageProgress]:
        """Progress, then each image of the archive."""

        async def chunks() -> AsyncIterator[bytes]:
            async for message in request:
                yield message.chunk

        async def work(progress: Callable[[Progress], None]) -> list[Image]:
            return await self._store.load(chunks(), progress)

        async for message in _with_progress(work):
            yield message

    async def Resolve(self, request: pb.PullImageRequest, context: Context) -> pb.ResolvedImage:
        """What the registry says now."""
        auth = RegistryAuth.from_base64(request.registry_auth)
        resolved = await self._store.resolve(request.ref, auth=auth)
        return pb.ResolvedImage(
            ref=request.ref,
            digest=resolved.digest,
            platforms=[
                PlatformMessage(architecture=platform.architecture, os=platform.os)
                for platform in resolved.platforms
            ],
        )

    async def List(self, request: ListRequest, context: Context) -> pb.ListImagesResponse:
        """Every image; filter `reference` by a part of a name."""
        images = [local_image(image) for image in self._store.list()]
        for entry in request.filters:
            if entry.key != "reference":
                raise InvalidSpec(f"invalid filter {entry.key!r}: expected reference")
            images = [
                image
                for image in images
                if any(value in tag for value in entry.values for tag in image.repo_tags)
            ]
        return pb.ListImagesResponse(images=images)

    async def Remove(
        self, request: pb.RemoveImageRequest, context: Context
    ) -> pb.RemoveImageResponse:
        """Untag, and delete what no name and no container holds."""
        removed = await self._store.remove(request.ref, force=request.force)
        return pb.RemoveImageResponse(untagged=removed.untagged, deleted=removed.deleted)


def local_image(image: Image) -> pb.LocalImage:
    """An image as clients see it."""
    message = pb.LocalImage(
        id=image.id,
        repo_tags=image.repo_tags,
        repo_digests=image.repo_digests,
        size_bytes=image.size_bytes,
    )
    with contextlib.suppress(ValueError):
        message.created.FromJsonString(image.created)
    return message


async def _with_progress(
    work: Callable[[Callable[[Progress], None]], Any],
) -> AsyncIterator[pb.ImageProgress]:
    """The newest progress of each layer as it comes, then the images; raises what `work` raises."""
    newest: dict[str, Progress] = {}
    changed = asyncio.Event()

    def progress(step: Progress) -> None:
        newest[step.layer] = step
        changed.set()

    task = asyncio.ensure_future(work(progress))
    task.add_done_callback(lambda _: changed.set())
    try:
        while not task.done() or newest:
            await changed.wait()
            changed.clear()
            steps, newest = list(newest.values()), {}
            for step in steps:
                yield _progress(step)
            if not task.done():
                await asyncio.sleep(0.05)  # a terminal wants no more than this
        for image in task.result():
            yield pb.ImageProgress(status="Complete", image=local_image(image))
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _progress(step: Progress) -> pb.ImageProgress:
    return pb.ImageProgress(
        layer=step.layer,
        status=step.status,
        current_bytes=step.current_bytes,
        total_bytes=step.total_bytes,
    )
