"""The `Images` service: this host's images."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.engine.api import selecting
from swarmlite.engine.api.imagemaking import ImageMakingService, platform_of, with_progress
from swarmlite.engine.committing import Committing
from swarmlite.engine.engine import Engine
from swarmlite.engine.events import nanoseconds
from swarmlite.engine.prune import truth, until_ns
from swarmlite.engine.records import OWNER
from swarmlite.errors import SwarmliteError
from swarmlite.proto import images_pb2 as pb
from swarmlite.proto.control_pb2 import Empty, GetRequest, ListRequest
from swarmlite.proto.images_pb2_grpc import ImagesServicer
from swarmlite.proto.types_pb2 import Platform as PlatformMessage
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.types import Image, ManifestInfo, Platform, Progress, Removed

Context = Any  # grpc.aio.ServicerContext, which has no types
LOCAL_RESOLVE_TIMEOUT_S = 3.0
"""How long a registry is asked for an image that this host has; clients wait for 5 s."""
LIST_KEYS = ("before", "dangling", "label", "reference", "since", "until")
PRUNE_KEYS = ("dangling", "label", "label!", "until")


class ImagesService(ImageMakingService, ImagesServicer):
    """See images.proto; errors are swarmlite's, translated by the server's interceptor."""

    def __init__(self, engine: Engine) -> None:
        """Its storage's leases say which images containers use."""
        self._store, self._events = engine.storage.images, engine.events
        committing = Committing(engine.storage, engine.lifecycle)
        ImageMakingService.__init__(self, self._store, self._events, engine.records, committing)

    async def Pull(
        self, request: pb.PullImageRequest, context: Context
    ) -> AsyncIterator[pb.ImageProgress]:
        """Progress, then the image."""
        platform = platform_of(request)
        auth = RegistryAuth.from_base64(request.registry_auth)

        async def work(progress: Callable[[Progress], None]) -> list[pb.ImageProgress]:
            refs = [request.ref]
            if request.all_tags:
                tags = await self._store.tags(request.ref, auth=auth)
                refs = [f"{request.ref}:{tag}" for tag in tags]
            done = []
            for ref in refs:
                image = await self._store.pull(
                    ref,
                    auth=auth,
                    platform=platform,
                    all_platforms=request.all_platforms,
                    progress=progress,
                )
                self._tell("pull", ref, ref)
                done.append(_complete(image))
            return done

        async for message in with_progress(work):
            yield message

    async def Load(
        self, request: AsyncIterator[pb.LoadImageRequest], context: Context
    ) -> AsyncIterator[pb.ImageProgress]:
        """Progress, then each image of the archive."""

        first = await anext(request, pb.LoadImageRequest())

        async def chunks() -> AsyncIterator[bytes]:
            yield first.chunk
            async for message in request:
                yield message.chunk

        async def work(progress: Callable[[Progress], None]) -> list[pb.ImageProgress]:
            images = await self._store.load(chunks(), progress, platform=platform_of(first))
            for image in images:
                self._tell("load", image.id)
            return [_complete(image) for image in images]

        async for message in with_progress(work):
            yield message

    async def Resolve(self, request: pb.PullImageRequest, context: Context) -> pb.ResolvedImage:
        """What the registry says now; where none answers for it, what this host has."""
        auth = RegistryAuth.from_base64(request.registry_auth)
        here = await asyncio.to_thread(self._store.resolve_here, request.ref)
        try:
            async with asyncio.timeout(LOCAL_RESOLVE_TIMEOUT_S if here is not None else None):
                resolved = await self._store.resolve(request.ref, auth=auth)
        except (SwarmliteError, TimeoutError):
            if here is None:
                raise
            resolved = here
        return pb.ResolvedImage(
            ref=request.ref,
            digest=resolved.digest,
            platforms=[_platform(platform) for platform in resolved.platforms],
            media_type=resolved.media_type,
            size_bytes=resolved.size_bytes,
            local=resolved is here,
        )

    async def List(self, request: ListRequest, context: Context) -> pb.ListImagesResponse:
        """Every image that passes, the newest first."""
        wanted = selecting.values(request.filters, LIST_KEYS)
        passes = self._matcher(wanted)
        images = [self.local(image) for image in self._store.list() if passes(image)]
        if references := wanted.get("reference", []):
            for image in images:  # only the names that were asked for, as Docker shows them
                named = [name for name in image.repo_tags if _any(name, references)]
                image.repo_tags[:] = named
                repositories = {name.rpartition(":")[0] for name in named}
                digests = [d for d in image.repo_digests if d.partition("@")[0] in repositories]
                image.repo_digests[:] = digests
        return pb.ListImagesResponse(images=images)

    def _matcher(self, wanted: Mapping[str, list[str]]) -> Callable[[Image], bool]:
        has_labels = selecting.labels(wanted)
        dangling = [truth("dangling", value) for value in wanted.get("dangling", [])]
        before = [created_ns(self._store.get(ref)) for ref in wanted.get("before", [])]
        since = [created_ns(self._store.get(ref)) for ref in wanted.get("since", [])]
        before += [until_ns(value) for value in wanted.get("until", [])]
        references = wanted.get("reference", [])

        def passes(image: Image) -> bool:
            created = created_ns(image)
            return (
                all(image.repo_tags == () if yes else image.repo_tags != () for yes in dangling)
                and all(created < bound for bound in before)
                and all(created > bound for bound in since)
                and has_labels(labels_of(image))
                and (not references or any(_any(name, references) for name in image.repo_tags))
            )

        return passes

    async def Inspect(self, request: GetRequest, context: Context) -> pb.ImageDetails:
        """One image, with its whole config."""
        found = await asyncio.to_thread(self._store.inspect, request.ref)
        return pb.ImageDetails(
            image=self.local(found.image),
            config_json=json.dumps(found.image.config).encode(),
            diff_ids=found.diff_ids,
            manifest_digest=found.image.manifest,
            index_digest=found.index,
            index_media_type=found.index_media_type,
            index_size_bytes=found.index_size_bytes,
            manifests=[_manifest(one) for one in found.manifests],
        )

    async def Tag(self, request: pb.TagImageRequest, context: Context) -> Empty:
        """One more name for an image."""
        await self._store.tag(request.ref, request.target)
        self._tell("tag", self._store.get(request.target).id, request.target)
        return Empty()

    async def Remove(
        self, request: pb.RemoveImageRequest, context: Context
    ) -> pb.RemoveImageResponse:
        """Untag, and delete what no name and no container holds."""
        image = self._store.get(request.ref)
        removed = await self._store.remove(request.ref, force=request.force)
        self._tell_removed(removed, image.id)
        return pb.RemoveImageResponse(untagged=removed.untagged, deleted=removed.deleted)

    async def Prune(self, request: ListRequest, context: Context) -> pb.PruneImagesResponse:
        """Delete images that nothing uses: dangling ones, or with dangling=false all."""
        wanted = selecting.values(request.filters, PRUNE_KEYS)
        bounds = [until_ns(value) for value in wanted.get("until", [])]
        removed = await self._store.prune(
            all_unused=not all(truth("dangling", value) for value in wanted.get("dangling", [])),
            before=min(bounds) / 1e9 if bounds else None,
            labels=selecting.labels(wanted),
        )
        self._tell_removed(removed)
        return pb.PruneImagesResponse(
            untagged=removed.untagged,
            deleted=removed.deleted,
            reclaimed_bytes=removed.reclaimed_bytes,
        )

    def local(self, image: Image) -> pb.LocalImage:
        """An image as clients see it, with how many containers use it."""
        message = local_image(image)
        holders = self._store.leases.holders(image=image.id)
        message.containers = sum(owner.startswith(OWNER) for owner in holders)
        return message

    def _tell(self, action: str, image_id: str, name: str = "") -> None:
        self._events.tell("image", action, image_id, {"name": name or image_id})

    def _tell_removed(self, removed: Removed, image_id: str = "") -> None:
        for name in removed.untagged:
            self._tell("untag", image_id or name)
        for deleted in removed.images:
            self._tell("delete", deleted)


def labels_of(image: Image) -> dict[str, str]:
    """The labels in its config."""
    inner = image.config.get("config") or {}
    return dict(inner.get("Labels") or {})


def created_ns(image: Image) -> int:
    """When it was made; 0 where it does not say so."""
    stamp = Timestamp()
    try:
        stamp.FromJsonString(image.created)
    except ValueError:
        return 0
    return nanoseconds(stamp)


def _any(name: str, patterns: list[str]) -> bool:
    return any(selecting.matches_reference(name, pattern) for pattern in patterns)


def local_image(image: Image) -> pb.LocalImage:
    """An image as clients see it."""
    message = pb.LocalImage(
        id=image.id,
        repo_tags=image.repo_tags,
        repo_digests=image.repo_digests,
        size_bytes=image.size_bytes,
        labels=labels_of(image),
        parent=image.parent,
    )
    with contextlib.suppress(ValueError):
        message.created.FromJsonString(image.created)
    return message


def _complete(image: Image) -> pb.ImageProgress:
    return pb.ImageProgress(status="Complete", image=local_image(image))


def _platform(platform: Platform) -> PlatformMessage:
    return PlatformMessage(
        architecture=platform.architecture, os=platform.os, variant=platform.variant
    )


def _manifest(found: ManifestInfo) -> pb.ImageManifest:
    kind = pb.ImageManifest.ATTESTATION if found.attestation else pb.ImageManifest.IMAGE
    return pb.ImageManifest(
        digest=found.digest,
        media_type=found.media_type,
        size_bytes=found.size_bytes,
        platform=_platform(found.platform) if found.platform else None,
        kind=kind,
        available=found.available,
        content_bytes=found.content_bytes,
        image_id=found.image_id,
        attests=found.attests,
    )
