"""--cache-from: images that say by which steps their layers were made.

They say so where they were built with the build argument BUILDKIT_INLINE_CACHE=1: a list of the
cache's keys in their configuration, one for each layer above the base's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarmlite.errors import SwarmliteError
from swarmlite.model.references import Reference

if TYPE_CHECKING:
    from swarmlite.build.building import Build
    from swarmlite.storage.images.types import Image

FIELD = "swarmlite.build.cache"
CONTEXT = "context://"


async def learn(build: Build) -> None:
    """Take over what each of these images knows; one that is not to be had is a warning."""
    for reference in build.options.cache_from:
        try:
            if reference.startswith(CONTEXT):
                await _of_archive(build, reference.removeprefix(CONTEXT))
            else:
                await _of_registry(build, reference)
        except SwarmliteError as error:
            build.report.warn(build.file_name, 0, f"--cache-from {reference}: {error}")


async def _of_registry(build: Build, reference: str) -> None:
    """An image, and all that its index names besides: other stages, other platforms."""
    image = await build.image(reference, build.platform, None)
    _take_over(build, image)
    if FIELD not in image.config:
        return
    found = build.engine.storage.images.inspect(image.id)
    name = Reference.parse(reference).name
    for one in found.manifests:
        if one.digest == image.manifest or one.attestation or one.platform is None:
            continue
        if (one.platform.os, one.platform.architecture) != (
            build.platform.os, build.platform.architecture
        ):  # fmt: skip
            continue
        other = await build.image(f"{name}@{one.digest}", build.platform, None)
        _take_over(build, other)
        build.unwanted.append(other.id)


async def _of_archive(build: Build, name: str) -> None:
    images = build.engine.storage.images
    path = await (await build.incoming.context(name)).path()
    with path.open("rb") as file:
        for image in await images.load(file, platform=build.platform):
            images.use(image.id, build.owner)
            build.unwanted.append(image.id)
            _take_over(build, image)


def _take_over(build: Build, image: Image) -> None:
    keys = image.config.get(FIELD)
    layers = list(image.layers)
    if not isinstance(keys, list) or len(keys) > len(layers):
        return
    made = [
        item for item in image.config.get("history") or ()
        if isinstance(item, dict) and not item.get("empty_layer")
    ]  # fmt: skip
    if len(made) != len(layers):
        return
    build.pins.add(*layers)
    below = len(layers) - len(keys)
    for number, key in enumerate(keys, below):
        item = made[number]
        if isinstance(key, str) and build.cache.get(key) is None:
            size = build.engine.storage.images.layers.size(layers[number])
            text, created = str(item.get("created_by", "")), str(item.get("created", ""))
            build.cache.put(key, layers[: number + 1], created, size, text)
