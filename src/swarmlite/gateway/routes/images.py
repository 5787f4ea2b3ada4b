"""The endpoints of images: looking, naming, removing. What streams is in `image_streams`."""

from __future__ import annotations

from typing import Any

import grpc
from aiohttp import web

from swarmlite.docker import image as shapes
from swarmlite.docker.values import Json
from swarmlite.errors import InvalidSpec
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
    if name := call.text("filter"):  # up to 1.40
        filters.append(Filter(key="reference", values=[name]))
    found = await call.backends.images.List(ListRequest(filters=filters))
    shown = [_listed(call, shapes.summary(each)) for each in found.images]
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
    details: ImageDetails = await call.backends.images.Inspect(GetRequest(ref=call.params["name"]))
    shown = {**shapes.inspect(details), **shapes.older(details)}
    if found := shapes.descriptor(details):
        shown["Descriptor"] = found
    if call.flag("manifests"):
        shown["Manifests"] = shapes.manifests(details)
    return call.reply(_listed(call, shown), fields=fields.IMAGE)


async def history(call: Call) -> web.Response:
    """How it was made."""
    found = await call.backends.images.History(GetRequest(ref=call.params["name"]))
    return call.reply(shapes.history(found))


async def tag(call: Call) -> web.Response:
    """One more name."""
    if not call.text("repo"):
        raise InvalidSpec("repo: say which name the image gets")
    target = named(call.text("repo"), call.text("tag"))
    await call.backends.images.Tag(TagImageRequest(ref=call.params["name"], target=target))
    return call.empty(201)


def named(repository: str, tag: str) -> str:
    """NAME:TAG of the two parameters that Docker's API splits it into."""
    return f"{repository}:{tag}" if tag else repository


async def remove(call: Call) -> web.Response:
    """A name, and the image with its last one."""
    request = RemoveImageRequest(
        ref=call.params["name"], force=call.flag("force"), no_prune=call.flag("noprune")
    )
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
