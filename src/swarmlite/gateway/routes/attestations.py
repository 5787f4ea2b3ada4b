"""What was attested of an image (1.55): none are kept here, and a registry's are not read."""

from __future__ import annotations

from aiohttp import web

from swarmlite.docker import image as shapes
from swarmlite.docker.reading.platform import platform_object
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.request import Call
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.proto.images_pb2 import ImageDetails, ImageManifest


async def attestations(call: Call) -> web.Response:
    """Nothing of an image that has none; 501 for one that does."""
    wanted = _platform(call)
    name = call.params["name"]
    details: ImageDetails = await call.backends.images.Inspect(GetRequest(ref=name))
    images = _images(details, wanted)
    if wanted and not images and not _is_of(details, wanted):
        raise NotFound(f"no manifest of {name} found for platform {'/'.join(wanted.values())}")
    about = [m for m in details.manifests if m.kind == ImageManifest.ATTESTATION]
    if any(each.attests in images for each in about):
        raise Refused(
            501, f"attestations are not kept by swarmlite: the registry of {name} has them"
        )
    return call.reply([])


def _images(details: ImageDetails, wanted: dict[str, str]) -> set[str]:
    """The digests of the manifests for a platform, or of what is unpacked here."""
    images = [m for m in details.manifests if m.kind == ImageManifest.IMAGE]
    if wanted:
        return {
            m.digest
            for m in images
            if all(getattr(m.platform, key) == text for key, text in wanted.items())
        }
    return {m.digest for m in images if m.image_id == details.image.id}


def _is_of(details: ImageDetails, wanted: dict[str, str]) -> bool:
    """Whether the image here is of the platform, as far as `wanted` says."""
    shown = shapes.inspect(details)
    here = {"os": shown["Os"], "architecture": shown["Architecture"]}
    return here | wanted == here


def _platform(call: Call) -> dict[str, str]:
    """The query's one platform: an object of the OCI. Raises InvalidSpec."""
    texts = call.texts("platform")
    if not texts or texts == [""]:
        return {}
    if len(texts) > 1:
        raise InvalidSpec("platform: only one may be given")
    found = platform_object(texts[0])
    return {key: found[key] for key in ("os", "architecture") if found[key]}


ROUTES: list[Route] = [("GET", "/images/{name:path}/attestations", attestations)]
