"""The endpoints of images: looking, naming, removing. What streams is in `image_streams`."""

from __future__ import annotations

from typing import Any

import grpc
from aiohttp import web

from swarmlite.docker import image as shapes
from swarmlite.docker.reading.platform import platform_object
from swarmlite.docker.values import Json
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.fields import images as fields
from swarmlite.gateway.request import Call
from swarmlite.gateway.routes import attestations, image_streams
from swarmlite.proto.control_pb2 import Filter, GetRequest, ListRequest
from swarmlite.proto.images_pb2 import ImageDetails, RemoveImageRequest, TagImageRequest

NAMELESS = 42
"""Up to 1.42 an image without a name says so in words."""


async def every(call: Call) -> web.Response:
    """All that pass."""
    filters = call.filters()
    if call.at_least(54) and call.flag("identity") and not call.flag("manifests"):
        raise InvalidSpec("conflicting options: identity requires manifests=1")
    if name := call.text("filter"):  # up to 1.40
        filters.append(Filter(key="reference", values=[name]))
    found = await call.backends.images.List(ListRequest(filters=filters))
    shown = [
        _listed(call, shapes.summary(each, containers=each.containers if call.at_least(51) else -1))
        for each in found.images
    ]
    if call.flag("manifests") and call.at_least(47):
        for each in shown:
            each |= await _manifests(call, each["Id"])
    return call.reply(shown, fields=fields.SUMMARY)


def _listed(call: Call, shown: Json) -> Json:
    return shown if call.at_least(NAMELESS + 1) else shapes.nameless(shown)


async def _manifests(call: Call, ref: str) -> Json:
    details = await call.backends.images.Inspect(GetRequest(ref=ref))
    return {"Descriptor": shapes.descriptor(details), "Manifests": shapes.manifests(details)}


async def inspect(call: Call) -> web.Response:
    """One, with its configuration."""
    manifests = call.flag("manifests") and call.at_least(48)
    wanted = call.text("platform") if call.at_least(49) else ""
    if manifests and wanted:
        raise InvalidSpec("conflicting options: manifests and platform options cannot both be set")
    details: ImageDetails = await call.backends.images.Inspect(GetRequest(ref=call.params["name"]))
    of_platform(call.params["name"], details, wanted)
    shown = {**shapes.inspect(details), **shapes.older(details)}
    if call.at_least(52):
        shown = shapes.without_empty(shown)
    if found := shapes.descriptor(details):
        shown["Descriptor"] = found
    if manifests:
        shown["Manifests"] = shapes.manifests(details)
    return call.reply(_listed(call, shown), fields=fields.IMAGE)


def of_platform(name: str, details: ImageDetails, wanted: str) -> None:
    """Raise NotFound unless the image here is of this platform, JSON of the OCI or empty."""
    if not wanted:
        return
    asked, shown = platform_object(wanted), shapes.inspect(details)
    if not asked["os"] or not asked["architecture"]:
        raise InvalidSpec("both OS and Architecture must be provided")
    here = {"os": shown["Os"], "architecture": shown["Architecture"]}
    if asked["variant"] and "Variant" in shown:  # many images do not say theirs
        here["variant"] = shown["Variant"]
    if here != {key: asked[key] for key in here}:
        raise NotFound(
            f"image with reference {name} was found but does not provide the specified platform"
            f" ({'/'.join(filter(None, asked.values()))})"
        )


async def history(call: Call) -> web.Response:
    """How it was made."""
    if wanted := call.text("platform") if call.at_least(48) else "":
        details = await call.backends.images.Inspect(GetRequest(ref=call.params["name"]))
        of_platform(call.params["name"], details, wanted)
    found = await call.backends.images.History(GetRequest(ref=call.params["name"]))
    return call.reply(shapes.history(found))


async def tag(call: Call) -> web.Response:
    """One more name."""
    if not call.text("repo"):
        raise InvalidSpec("repo: say which name the image gets")
    if call.text("repo") == "sha256":
        raise InvalidSpec("refusing to create an ambiguous tag using digest algorithm as name")
    target = str(image_streams.reference_of(call.text("repo"), call.text("tag")))
    await call.backends.images.Tag(TagImageRequest(ref=call.params["name"], target=target))
    return call.empty(201)


async def remove(call: Call) -> web.Response:
    """A name, and the image with its last one."""
    name = call.params["name"]
    for wanted in call.texts("platforms") if call.at_least(50) else ():
        details = await call.backends.images.Inspect(GetRequest(ref=name))
        of_platform(name, details, wanted)
    request = RemoveImageRequest(ref=name, force=call.flag("force"), no_prune=call.flag("noprune"))
    try:
        done = await call.backends.images.Remove(request)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            raise
        why = f"conflict: unable to delete {request.ref}: {error.details()}"
        raise Refused(409, why) from error
    return call.reply(shapes.removed(done.untagged, done.deleted))


async def prune(call: Call) -> web.Response:
    """Those that nothing uses; dangling ones only unless told otherwise."""
    done = await call.backends.images.Prune(ListRequest(filters=call.filters()))
    gone = shapes.removed(done.untagged, done.deleted)
    return call.reply({"ImagesDeleted": gone or None, "SpaceReclaimed": done.reclaimed_bytes})


async def search(call: Call) -> web.Response:
    """Registries have no search that clients share; Docker's is of its own hub only."""
    term: Any = call.text("term")
    raise Refused(
        501,
        f"image search is not supported by swarmlite: look for {term[:100]!r} on the web page of"
        " your registry, for Docker Hub https://hub.docker.com/search",
    )


ROUTES: list[Route] = [
    ("GET", "/images/json", every),
    ("GET", "/images/search", search),
    ("POST", "/images/prune", prune),
    *image_streams.ROUTES,
    *attestations.ROUTES,
    ("GET", "/images/{name:path}/json", inspect),
    ("GET", "/images/{name:path}/history", history),
    ("POST", "/images/{name:path}/tag", tag),
    ("DELETE", "/images/{name:path}", remove),
]
