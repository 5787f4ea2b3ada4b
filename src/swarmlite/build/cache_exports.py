"""--cache-to: what the cache knows of a build, as images that say by which steps they were made.

One image of the target, and with mode=max one of each stage that it stands on: in a registry they
are one index, in an archive images side by side. `known_layers` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

from swarmlite.build import known_layers
from swarmlite.build.bases import auth_of
from swarmlite.build.building import Build
from swarmlite.build.export import configuration
from swarmlite.build.state import State
from swarmlite.errors import NotFound, SwarmliteError
from swarmlite.proto import build_pb2 as pb
from swarmlite.storage.images.store import tag_of

Pairs = Sequence[tuple[Build, State]]


async def export_caches(pairs: Pairs) -> None:
    """To every registry that the options name. Raises what a push raises, unless told not to."""
    first = pairs[0][0]
    for wanted in first.options.cache_to:
        step = first.begin(name=f"exporting cache to registry {wanted.ref}")
        try:
            await _push(
                first, tag_of(wanted.ref), await cache_images(pairs, all_stages=wanted.all_stages)
            )
        except SwarmliteError as error:
            step.done(error=str(error))
            if not wanted.ignore_error:
                raise type(error)(f"--cache-to {wanted.ref}: {error}") from error
            first.report.warn(first.file_name, 0, f"--cache-to {wanted.ref}: {error}")
        else:
            step.done()


async def cache_images(pairs: Pairs, *, all_stages: bool) -> list[str]:
    """Ids of the images, the target's first; they go with the build."""
    images = pairs[0][0].engine.storage.images
    found: dict[str, None] = {}
    for build, target in pairs:
        states = [target, *(build.finished() if all_stages else ())]
        for state in states:
            if not state.keys:
                continue
            config = {**configuration(build, state), known_layers.FIELD: state.keys}
            image = await images.layering.image(
                build.engine.storage.snapshots, config, state.chain, base=state.base
            )
            images.use(image.id, build.owner)
            build.unwanted.append(image.id)
            found[image.id] = None
    return list(found)


async def _push(build: Build, ref: str, ids: Sequence[str]) -> None:
    """Under a name that is this host's meanwhile, and then again of whichever image had it."""
    if not ids:
        return
    images = build.engine.storage.images
    try:
        before = images.get(ref).id
    except NotFound:
        before = ""
    try:
        if len(ids) > 1:
            await images.bind(ids, [ref])
        else:
            await images.tag(ids[0], ref)
        auth = auth_of(build.options, ref)
        await images.push(ref, auth=auth, all_platforms=len(ids) > 1)
    finally:
        if before:
            await images.tag(before, ref)
        else:
            await images.untag(ref)


async def archive_ids(pairs: Pairs, output: pb.BuildOutput) -> list[str]:
    """Of an output of type CACHE. Raises NotFound where there is nothing to keep."""
    ids = await cache_images(pairs, all_stages=output.all_stages)
    if not ids:
        raise NotFound("--cache-to: no step of this build made a layer: there is nothing to keep")
    return ids
