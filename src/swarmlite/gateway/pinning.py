"""Digests for clients that do not pin images themselves: those of before version 1.30."""

from __future__ import annotations

import grpc

from swarmlite.gateway.request import Call
from swarmlite.proto.control_pb2 import GetRequest
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
    if not image or "@" in image:
        return []
    if call.at_least(PINNING_CLIENTS):
        await _pin_if_only_here(call, task)
        return []
    auth = task.container.pull_options.registry_auth
    try:
        found = await call.backends.images.Resolve(
            PullImageRequest(ref=image, registry_auth=auth), timeout=RESOLVE_TIMEOUT_S
        )
    except grpc.RpcError:
        return [_WARNING.format(image=image)]
    task.container.image = f"{_tagged(image)}@{found.digest}"
    return []


async def _pin_if_only_here(call: Call, task: TaskSpec) -> None:
    """A client that pins has not done so: libraries do not. An image of this host that no registry
    answers for is known to the other nodes by its digest only."""
    image, images = task.container.image, call.backends.images
    auth = task.container.pull_options.registry_auth
    try:
        await images.Inspect(GetRequest(ref=_tagged(image)), timeout=RESOLVE_TIMEOUT_S)
        found = await images.Resolve(
            PullImageRequest(ref=image, registry_auth=auth), timeout=RESOLVE_TIMEOUT_S
        )
    except grpc.RpcError:
        return
    if found.local:
        task.container.image = f"{_tagged(image)}@{found.digest}"


def _tagged(image: str) -> str:
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"
