"""Images that a build stands on or copies from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from swarmlite.build.progress import Step
from swarmlite.errors import InvalidSpec, NotFound, SwarmliteError
from swarmlite.model.references import Reference
from swarmlite.proto import build_pb2 as pb
from swarmlite.proto.images_pb2 import ImageProgress
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.types import Image, Platform, Progress

if TYPE_CHECKING:
    from swarmlite.build.building import Build


async def find(build: Build, reference: str, platform: Platform, step: Step | None) -> Image:
    """It, held for the build's owner; pulled where it is not here, or the build is to ask.

    Raises NotFound, InvalidSpec, and what a pull raises.
    """
    images = build.engine.storage.images
    if not build.options.pull:
        try:
            image = images.use(reference, build.owner)
            if _fits(image, platform):
                return image
        except NotFound:
            pass
    auth = auth_of(build.options, reference)
    try:
        return await images.pull(
            reference,
            auth=auth,
            platform=platform,
            progress=_progress(build, step),
            owner=build.owner,
        )
    except NotFound as error:
        raise NotFound(f"{reference}: {error}") from error
    except SwarmliteError as error:
        raise type(error)(f"cannot pull {reference}: {error}") from error


async def of_layout(build: Build, name: str, platform: Platform) -> Image:
    """The one image of a context that is an OCI layout; it goes with the build.

    Raises InvalidSpec, FailedPrecondition where it has none for the platform.
    """
    images = build.engine.storage.images
    path = await (await build.incoming.context(name)).path()
    try:
        with path.open("rb") as file:
            found = await images.load(file, platform=platform)
    except SwarmliteError as error:
        raise type(error)(f"the context {name}: {error}") from error
    for image in found:
        images.use(image.id, build.owner)
        build.unwanted.append(image.id)
    if len(found) != 1:
        raise InvalidSpec(f"the context {name}: the layout has {len(found)} images: expected one")
    return found[0]


def auth_of(options: pb.BuildOptions, reference: str) -> RegistryAuth | None:
    """The client's credentials for the registry of an image. Raises InvalidSpec."""
    domain = Reference.parse(reference).domain
    for server, text in options.registry_auths.items():
        auth = RegistryAuth.from_base64(text)
        if auth is None:
            continue
        named = RegistryAuth(server_address=server).domain
        if domain in (named, auth.domain):
            return auth
    return None


def _fits(image: Image, platform: Platform) -> bool:
    found = (
        str(image.config.get("os") or platform.os),
        str(image.config.get("architecture") or platform.architecture),
    )
    return found == (platform.os, platform.architecture)


def _progress(build: Build, step: Step | None) -> Callable[[Progress], None]:
    last: dict[str, str] = {}

    def say(progress: Progress) -> None:
        if step is None:
            return
        same = progress.layer and last.get(progress.layer) == progress.status
        if same and progress.current_bytes < progress.total_bytes:
            return  # an event for each change of a layer is enough
        last[progress.layer] = progress.status
        build.report.tell(
            pb.BuildEvent(
                status=pb.BuildStatus(
                    step=step.id,
                    id=progress.layer or progress.status,
                    image=ImageProgress(
                        layer=progress.layer,
                        status=progress.status,
                        current_bytes=progress.current_bytes,
                        total_bytes=progress.total_bytes,
                    ),
                )
            )
        )

    return say
