"""One Dockerfile for several platforms: a build of each, side by side, and an index of them all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from swarmlite.build import export, known_layers
from swarmlite.build.building import Build
from swarmlite.build.state import State
from swarmlite.errors import InvalidSpec
from swarmlite.proto import build_pb2 as pb
from swarmlite.storage.images.types import Platform

MAX_PLATFORMS = 16
_OUTPUTS = (pb.BuildOutput.IMAGE, pb.BuildOutput.OCI, pb.BuildOutput.NOTHING)


def wanted(options: pb.BuildOptions) -> list[Platform]:
    """The platforms of a build of several; empty for a build of one. Raises InvalidSpec."""
    found = [
        Platform(one.os or "linux", one.architecture, one.variant) for one in options.platforms
    ]
    found = list(dict.fromkeys(found))
    if len(found) > MAX_PLATFORMS:
        raise InvalidSpec(f"{len(found)} platforms in one build: at most {MAX_PLATFORMS}")
    if len(found) == 1:
        options.platform.CopyFrom(options.platforms[0])
    if len(found) < 2:
        return []
    if any(output.type not in _OUTPUTS for output in options.outputs):
        raise InvalidSpec(
            "several platforms can be an image or an archive of type=oci: build one platform for "
            "type=docker, type=tar, type=local and a cache in a folder"
        )
    return found


async def build_all(first: Build, platforms: Sequence[Platform]) -> pb.BuildResult:
    """What comes of them; `first` was read. Raises what a build raises, the first that fails."""
    builds = [first, *(first.beside(platform) for platform in platforms[1:])]
    async with AsyncExitStack() as living:
        for build in builds[1:]:
            await living.enter_async_context(build.living())
            build.prepare_arguments()
        for build in builds:
            build.announce()
        states = await _together(builds)
        return await export.export_index(builds, states)


async def _together(builds: Sequence[Build]) -> list[State]:
    async def one(build: Build) -> State:
        await known_layers.learn(build)
        return await build.solve()

    tasks = [asyncio.create_task(one(build)) for build in builds]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
