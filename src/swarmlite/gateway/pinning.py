"""Digests for clients that do not pin images themselves: those of before version 1.30."""

from __future__ import annotations

import grpc

from swarmlite.gateway.request import Call
from swarmlite.proto.images_pb2 import PullImageRequest
from swarmlite.proto.specs_pb2 import TaskSpec

PINNING_CLIENTS = 30
RESOLVE_TIMEOUT_S = 10.0
_WARNING = (
    "image {image} could not be accessed on a registry to record\nits digest. Each node will access"
    " {image} independently,\npossibly leading to different nodes running different\nversions of"
    " the image.\n"
)


async def pinned(call: Call, task: TaskSpec) -> list[str]:
    """Give the image its digest where the client could not; answers Docker's warnings."""
    image = task.container.image
    if call.at_least(PINNING_CLIENTS) or not image or "@" in image:
        return []
    auth = task.container.pull_options.registry_auth
    try:
        found = await call.backends.images.Resolve(
            PullImageRequest(ref=image, registry_auth=auth), timeout=RESOLVE_TIMEOUT_S
        )
    except grpc.RpcError:
        return [_WARNING.format(image=image)]
    tagged = image if ":" in image.rpartition("/")[2] else f"{image}:latest"
    task.container.image = f"{tagged}@{found.digest}"
    return []
