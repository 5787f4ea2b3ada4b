"""What a registry says of an image, without pulling it."""

from __future__ import annotations

import grpc
from aiohttp import web

from swarmlite.docker import image as shapes
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.request import Call
from swarmlite.gateway.routes.image_streams import credentials
from swarmlite.proto.images_pb2 import PullImageRequest


async def inspect(call: Call) -> web.Response:
    """The digest and platforms of a name."""
    name = call.params["name"]
    request = PullImageRequest(ref=name, registry_auth=credentials(call))
    try:
        found = await call.backends.images.Resolve(request)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
            raise
        raise Refused(401, str(error.details())) from error
    return call.reply(shapes.distribution(found))


ROUTES: list[Route] = [("GET", "/distribution/{name:path}/json", inspect)]
