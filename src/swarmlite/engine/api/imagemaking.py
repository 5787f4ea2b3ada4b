"""The part of the `Images` service that gives images on and makes new ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from swarmlite.engine import image_changes
from swarmlite.engine.committing import Committing, imported_config
from swarmlite.engine.events import Events
from swarmlite.engine.records import Records
from swarmlite.engine.streaming import from_thread
from swarmlite.errors import InvalidSpec
from swarmlite.proto import images_pb2 as pb
from swarmlite.proto.containers_pb2 import Chunk
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.login import login
from swarmlite.storage.images.store import ImageStore, tag_of
from swarmlite.storage.images.types import Platform, Progress

Context = Any  # grpc.aio.ServicerContext, which has no types


class ImageMakingService:
    """See images.proto; to be mixed into its servicer."""

    def __init__(
        self, store: ImageStore, events: Events, records: Records, committing: Committing
    ) -> None:
        """`records` find the containers that `committing` makes images of."""
        self._images, self._said = store, events
        self._containers, self._committing = records, committing

    async def Push(
        self, request: pb.PushImageRequest, context: Context
    ) -> AsyncIterator[pb.ImageProgress]:
        """Progress, then what the registry has now."""
        auth = RegistryAuth.from_base64(request.registry_auth)

        async def work(progress: Callable[[Progress], None]) -> list[pb.ImageProgress]:
            pushed = await self._images.push(
                request.ref,
                auth=auth,
                platform=platform_of(request),
                all_platforms=request.all_platforms,
                all_tags=request.all_tags,
                progress=progress,
            )
            self._said.tell("image", "push", request.ref, {"name": request.ref})
            return [
                pb.ImageProgress(
                    status="Complete",
                    pushed=pb.PushedTag(tag=one.tag, digest=one.digest, size_bytes=one.size_bytes),
                )
                for one in pushed
            ]

        async for message in with_progress(work):
            yield message

    async def Save(self, request: pb.SaveImagesRequest, context: Context) -> AsyncIterator[Chunk]:
        """An archive of images."""
        if not request.refs:
            raise InvalidSpec("no image was named")
        pieces = await asyncio.to_thread(
            partial(
                self._images.save,
                list(request.refs),
                platform=platform_of(request),
                all_platforms=request.all_platforms,
            )
        )
        for ref in request.refs:
            self._said.tell("image", "save", ref, {"name": ref})
        async for chunk in from_thread(lambda: pieces):
            yield Chunk(data=chunk)

    async def History(self, request: GetRequest, context: Context) -> pb.ImageHistory:
        """How an image was made."""
        image = self._images.get(request.ref)
        steps = []
        for number, item in enumerate(self._images.history(request.ref)):
            step = pb.ImageHistory.Step(
                created_by=item.created_by,
                size_bytes=item.size_bytes,
                comment=item.comment,
                empty_layer=item.empty_layer,
            )
            if number == 0:
                step.id = image.id
                step.tags.extend(image.repo_tags)
            with contextlib.suppress(ValueError):
                step.created.FromJsonString(item.created)
            steps.append(step)
        return pb.ImageHistory(steps=steps)

    async def Commit(self, request: pb.CommitRequest, context: Context) -> pb.CommitResponse:
        """A container's changes as an image."""
        record = self._containers.find(request.container)
        work = self._committing.commit(record, request)
        image = await asyncio.shield(asyncio.ensure_future(work))
        attributes = {"comment": request.message, "imageID": image.id, "imageRef": ""}
        self._said.tell("container", "commit", record.id, attributes)
        return pb.CommitResponse(id=image.id)

    async def Import(
        self, request: AsyncIterator[pb.ImportImageRequest], context: Context
    ) -> pb.ImportImageResponse:
        """A tar of a file system as an image of one layer."""
        first = await anext(request, None)
        if first is None or not first.HasField("options"):
            raise InvalidSpec("the first message says what the image is to be")
        options = first.options
        tag = tag_of(options.reference) if options.reference else ""
        inner = image_changes.apply({}, options.changes)
        config = imported_config(
            inner,
            platform_of(options) or Platform.of_host(),
            options.message,
        )

        async def chunks() -> AsyncIterator[bytes]:
            if first.chunk:
                yield first.chunk
            async for message in request:
                yield message.chunk

        image = await self._images.make(config, chunks(), tag=tag)
        self._said.tell("image", "import", image.id, {"name": image.id})
        return pb.ImportImageResponse(id=image.id)

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        """Whether a registry takes these credentials."""
        auth = RegistryAuth.from_base64(request.registry_auth)
        if auth is None:
            raise InvalidSpec("no credentials were given")
        token = await login(auth, self._images.settings)
        return pb.LoginResponse(status="Login Succeeded", identity_token=token)


def platform_of(request: Any) -> Platform | None:
    """The platform that a request names, if any."""
    wanted = request.platform
    if not (wanted.os or wanted.architecture):
        return None
    return Platform(wanted.os or "linux", wanted.architecture, wanted.variant)


async def with_progress(
    work: Callable[[Callable[[Progress], None]], Any],
) -> AsyncIterator[pb.ImageProgress]:
    """The newest progress of each layer as it comes, then what `work` returns, or raises."""
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
        for message in task.result():
            yield message
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
