"""What is made of a target: an image of this host, the tar of its files, an archive."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

from swarmlite.build import known_layers
from swarmlite.build.building import Build
from swarmlite.build.cache import key_of
from swarmlite.build.layers import moment
from swarmlite.build.state import State
from swarmlite.build.trees import view
from swarmlite.engine.streaming import from_thread
from swarmlite.proto import build_pb2 as pb
from swarmlite.storage import trees
from swarmlite.storage.images.manifest import digest_of, media_type_of
from swarmlite.storage.images.store import tag_of
from swarmlite.storage.images.types import Image
from swarmlite.storage.snapshots.tars import TarStream

IMAGES = (pb.BuildOutput.IMAGE, pb.BuildOutput.OCI, pb.BuildOutput.DOCKER)


async def export(build: Build, state: State) -> pb.BuildResult:
    """Every output, in the order of the options; what they come to. Raises ResourceExhausted."""
    from swarmlite.build import cache_exports  # which makes images as this does

    outputs = build.options.outputs or [pb.BuildOutput(type=pb.BuildOutput.IMAGE)]
    result = pb.BuildResult()
    image: Image | None = None
    if any(output.type in IMAGES for output in outputs):
        kept = any(output.type == pb.BuildOutput.IMAGE for output in outputs)
        image = await _image(build, state, tags=_tags(build) if kept else [])
        build.engine.storage.images.use(image.id, build.owner)
        _describe(build, image, result)
        if not kept:
            build.unwanted.append(image.id)
    for number, output in enumerate(outputs):
        if output.type == pb.BuildOutput.TREE:
            await _send(build, number, _tree(build, state))
        elif output.type in (pb.BuildOutput.OCI, pb.BuildOutput.DOCKER):
            assert image is not None
            await _send(build, number, _archive(build, image))
        elif output.type == pb.BuildOutput.CACHE:
            ids = await cache_exports.archive_ids([(build, state)], output)
            await _send(build, number, build.engine.storage.images.save(ids))
    await cache_exports.export_caches([(build, state)])
    return result


async def export_index(builds: Sequence[Build], states: Sequence[State]) -> pb.BuildResult:
    """The outputs of several platforms: this host's image, or the first, has the index.

    Raises ResourceExhausted, FailedPrecondition.
    """
    from swarmlite.build import cache_exports

    first, images = builds[0], builds[0].engine.storage.images
    outputs = first.options.outputs or [pb.BuildOutput(type=pb.BuildOutput.IMAGE)]
    result = pb.BuildResult()
    if not any(output.type in IMAGES for output in outputs):
        await cache_exports.export_caches(list(zip(builds, states, strict=True)))
        return result
    made: list[tuple[Build, Image]] = []
    for build, state in zip(builds, states, strict=True):
        image = await _image(build, state, tags=[])
        images.use(image.id, first.owner)
        made.append((build, image))
    made.sort(key=lambda one: one[0].platform.architecture != first.host.architecture)
    kept = any(output.type == pb.BuildOutput.IMAGE for output in outputs)
    tags = _tags(first) if kept else []
    ids = list(dict.fromkeys(image.id for _, image in made))
    raw = await images.bind(ids, tags, dict(first.options.annotations))
    _describe(first, images.get(ids[0]), result)
    result.manifest_digest, result.manifest_size_bytes = digest_of(raw), len(raw)
    result.manifest_media_type = media_type_of(raw)
    first.unwanted.extend(ids if not kept else ids[1:])
    for number, output in enumerate(outputs):
        if output.type == pb.BuildOutput.OCI:
            pieces = images.save([ids[0]], all_platforms=True, names=_tags(first))
            await _send(first, number, pieces)
    await cache_exports.export_caches(list(zip(builds, states, strict=True)))
    return result


def _tags(build: Build) -> list[str]:
    return list(dict.fromkeys(tag_of(tag) for tag in build.options.tags))


async def _image(build: Build, state: State, *, tags: list[str]) -> Image:
    config = configuration(build, state)
    step = build.begin(name="exporting to image")
    try:
        image = await build.engine.storage.images.layering.image(
            build.engine.storage.snapshots,
            config,
            state.chain,
            base=state.base,
            tags=tags,
            annotations=dict(build.options.annotations),
        )
    except BaseException as error:
        step.done(error=str(error) or "canceled")
        raise
    step.status(f"writing image {image.id}", done=True)
    for tag in tags:
        step.status(f"naming to {tag}", done=True)
        build.engine.events.tell("image", "tag", image.id, {"name": tag})
    step.done()
    return image


def configuration(build: Build, state: State) -> dict[str, Any]:
    """An image's, without its rootfs; the same for what the cache had whole."""
    inner = dict(state.config)
    if build.options.labels:
        inner["Labels"] = {**(inner.get("Labels") or {}), **build.options.labels}
    inner = {key: value for key, value in inner.items() if value not in (None, "", [], {})}
    outer: dict[str, Any] = {**state.outer, "config": inner}
    outer.setdefault("os", state.platform.os)
    outer.setdefault("architecture", state.platform.architecture)
    if build.arguments.get("BUILDKIT_INLINE_CACHE") in ("1", "true"):
        outer[known_layers.FIELD] = state.keys
    created = _created(build, state, outer)
    history = [{"created": created, **item} for item in state.history]
    return {"created": created, **outer, "history": history}


def _created(build: Build, state: State, outer: dict[str, Any]) -> str:
    """When it was first made: the time of its newest layer, or when these words were new."""
    if build.epoch is not None:
        return moment(build)
    if state.created:
        return state.created
    key = key_of("created", state.chain, outer, [item.get("created_by") for item in state.history])
    known = build.cache.content(key)
    if not known:
        known = moment(build)
        build.cache.remember_content(key, known)
    return known


def _describe(build: Build, image: Image, result: pb.BuildResult) -> None:
    content = build.engine.storage.images.content
    data = content.read(image.manifest, build.engine.storage.images.limits.manifest_bytes)
    result.image_id, result.manifest_digest = image.id, image.manifest
    result.manifest_size_bytes, result.manifest_media_type = len(data), media_type_of(data)
    result.tags.extend(_tags(build))
    limit = build.engine.storage.images.limits.config_bytes
    result.config_json = content.read(image.id, limit)


async def _send(build: Build, number: int, pieces: Iterator[bytes]) -> None:
    step = build.begin(name="sending the output")
    sent = 0
    async with contextlib.aclosing(_chunks(pieces)) as chunks:
        async for chunk in chunks:
            sent += len(chunk)
            event = pb.BuildEvent(output=pb.BuildOutputData(output=number, data=chunk))
            await build.report.tell_much(event)
    build.report.tell(pb.BuildEvent(output=pb.BuildOutputData(output=number, end=True)))
    step.status("sending", current=sent, total=sent, done=True)
    step.done()


async def _chunks(pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for chunk in from_thread(lambda: pieces):
        yield chunk


def _tree(build: Build, state: State) -> Iterator[bytes]:
    """A tar of all files. Blocks."""
    stream = TarStream()
    with view(build.engine, state.chain) as root:
        for entry in trees.walk(root, ordered=True):
            yield from stream.member(entry)
        yield stream.end()


def _archive(build: Build, image: Image) -> Iterator[bytes]:
    return build.engine.storage.images.save([image.id], names=_tags(build))
