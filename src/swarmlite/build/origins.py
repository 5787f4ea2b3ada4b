"""Where COPY --from, RUN --mount from= and FROM take files: a stage, a named context, an image."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarmlite.build.progress import Step
from swarmlite.build.trees import opened, view
from swarmlite.errors import InvalidSpec
from swarmlite.storage.images.types import Image, Platform

if TYPE_CHECKING:
    from swarmlite.build.building import Build

_IMAGE = "docker-image://"
_LAYOUT = "oci-layout://"


@dataclass(frozen=True)
class Origin:
    """Files: a folder of this host with a context, or layers; `image` where they are one's."""

    name: str
    folder: Path | None = None
    chain: tuple[str, ...] = ()
    image: Image | None = None

    @contextlib.contextmanager
    def opened(self, build: Build) -> Iterator[int]:
        """A descriptor of the root, to be read. Blocks."""
        if self.folder is not None:
            with opened(self.folder) as root:
                yield root
        else:
            with view(build.engine, self.chain) as root:
                yield root


async def origin_of(
    build: Build, name: str, before: int, platform: Platform, step: Step | None
) -> Origin:
    """What a name stands for, in a stage: empty is the build context. Raises what a pull raises."""
    if not name:
        return Origin("", folder=await build.sent.tree())
    named = build.named_context(name)
    if named is None:
        number = _stage(build, name, before)
        if number is not None:
            return Origin(name, chain=(await build.stage(number)).chain)
    elif not named:
        return Origin(name, folder=await build.sent.tree(name))
    elif named == _LAYOUT:
        return _of_image(build, name, await build.layout_image(name, platform))
    elif not named.startswith(_IMAGE):
        raise InvalidSpec(f"context {name}={named[:60]}: expected {_IMAGE}REFERENCE, or its files")
    if named is None and name == "scratch":
        return Origin(name)
    reference = named.removeprefix(_IMAGE) if named else name
    return _of_image(build, reference, await build.image(reference, platform, step))


async def context_of(build: Build, name: str) -> str:
    """What the files behind such a name are a function of, where they are a context's; or empty."""
    if not name or build.named_context(name) == "":
        return await build.sent.digest(name)
    return ""


def _of_image(build: Build, name: str, image: Image) -> Origin:
    build.pins.add(*image.layers)
    return Origin(name, chain=tuple(image.layers), image=image)


def _stage(build: Build, name: str, before: int) -> int | None:
    for stage in reversed(build.dockerfile.stages[:before]):
        if name.lower() == stage.name or name == str(stage.number):
            return stage.number
    return None
