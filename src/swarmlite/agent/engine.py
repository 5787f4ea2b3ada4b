"""The `Engine` service: this host's images, containers and volumes, to root on agent.sock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.agent import containers
from swarmlite.agent.execution import execute, process_of
from swarmlite.agent.exits import SupervisorLink
from swarmlite.errors import InvalidSpec
from swarmlite.proto import engine_pb2 as pb
from swarmlite.proto.control_pb2 import Empty, ListRequest, RemoveRequest
from swarmlite.proto.engine_pb2_grpc import EngineServicer
from swarmlite.proto.types_pb2 import Platform as PlatformMessage
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Image, Platform, Progress
from swarmlite.storage.volumes.store import Volume, VolumeStore

Context = Any  # grpc.aio.ServicerContext, which has no types


class EngineService(EngineServicer):
    """See engine.proto; errors are swarmlite's, translated by the server's interceptor."""

    def __init__(
        self,
        *,
        store: ImageStore,
        volumes: VolumeStore,
        supervisor: SupervisorLink,
        info: Callable[[], pb.EngineInfo],
    ) -> None:
        """`info` is the node's part of `Info`; counts are added here."""
        self._store = store
        self._volumes = volumes
        self._supervisor = supervisor
        self._info = info

    async def Info(self, request: Empty, context: Context) -> pb.EngineInfo:
        """The node, and what it lacks."""
        info = self._info()
        states = await self._supervisor.client.list()
        info.containers_running = sum(state.status == "running" for state in states)
        info.images = len(self._store.list())
        return info

    # images
    async def PullImage(
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

    async def LoadImage(
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

    async def ResolveImage(
        self, request: pb.PullImageRequest, context: Context
    ) -> pb.ResolvedImage:
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

    async def ListImages(self, request: ListRequest, context: Context) -> pb.ListImagesResponse:
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

    async def RemoveImage(
        self, request: pb.RemoveImageRequest, context: Context
    ) -> pb.RemoveImageResponse:
        """Untag, and delete what no name and no container holds."""
        in_use = containers.image_ids_in_use(await self._supervisor.client.list())
        removed = self._store.remove(request.ref, force=request.force, in_use=in_use)
        return pb.RemoveImageResponse(untagged=removed.untagged, deleted=removed.deleted)

    # containers
    async def ListContainers(
        self, request: pb.ListContainersRequest, context: Context
    ) -> pb.ListContainersResponse:
        """Those that run, or all."""
        found = [
            containers.local_container(state)
            for state in await self._supervisor.client.list()
            if request.all or state.status == "running"
        ]
        return pb.ListContainersResponse(
            containers=[entry for entry in found if containers.matches(entry, request.filters)]
        )

    async def Exec(
        self, request: AsyncIterator[pb.ExecInput], context: Context
    ) -> AsyncIterator[pb.ExecOutput]:
        """A command in a running container."""
        first = await anext(request, None)
        if first is None or not first.HasField("start"):
            raise InvalidSpec("the first message names the container and the command")
        client = self._supervisor.client
        state = containers.find(await client.list(), first.start.container)
        process = process_of(state, first.start)
        async with contextlib.aclosing(execute(client, state.id, process, request)) as outputs:
            async for output in outputs:
                yield output

    # volumes
    async def ListVolumes(self, request: ListRequest, context: Context) -> pb.ListVolumesResponse:
        """Every volume; filters name and label."""
        volumes = [local_volume(volume) for volume in self._volumes.list()]
        return pb.ListVolumesResponse(
            volumes=[volume for volume in volumes if _volume_matches(volume, request)]
        )

    async def CreateVolume(self, request: pb.LocalVolume, context: Context) -> pb.LocalVolume:
        """A volume of the local driver."""
        volume = await asyncio.to_thread(
            self._volumes.create,
            request.name,
            driver=request.driver or "local",
            labels=dict(request.labels),
            options=dict(request.options),
        )
        return local_volume(volume)

    async def RemoveVolume(self, request: RemoveRequest, context: Context) -> Empty:
        """A volume that no container uses."""
        states = await self._supervisor.client.list()
        in_use = containers.volumes_in_use(states, self._volumes.list())
        await asyncio.to_thread(self._volumes.remove, request.ref, in_use=in_use)
        return Empty()


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


def local_volume(volume: Volume) -> pb.LocalVolume:
    """A volume as clients see it."""
    return pb.LocalVolume(
        name=volume.name,
        driver=volume.driver,
        mountpoint=str(volume.mountpoint),
        labels=volume.labels,
        options=volume.options,
        created=Timestamp(seconds=int(volume.created)),
    )


def _volume_matches(volume: pb.LocalVolume, request: ListRequest) -> bool:
    for entry in request.filters:
        if entry.key == "name":
            held = any(value in volume.name for value in entry.values)
        elif entry.key == "label":
            pairs = {f"{key}={value}" for key, value in volume.labels.items()}
            held = any(value in pairs or value in volume.labels for value in entry.values)
        else:
            raise InvalidSpec(f"invalid filter {entry.key!r}: expected name or label")
        if not held:
            return False
    return True


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
