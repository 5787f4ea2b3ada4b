"""Builds: not here yet, and said so; and the images that are made of containers."""

from __future__ import annotations

import json

from aiohttp import web

from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.request import Call
from swarmlite.gateway.routes.image_streams import reference_of
from swarmlite.proto.images_pb2 import CommitRequest


async def build(call: Call) -> web.Response:
    """No builder yet."""
    raise Refused(
        501,
        "building images is not supported by swarmlite yet: build elsewhere, and push the image"
        " to a registry or load it (docker load)",
    )


async def cancel(call: Call) -> web.Response:
    """There is none to cancel."""
    return call.empty()


async def prune(call: Call) -> web.Response:
    """No builds leave a cache."""
    return call.reply({"CachesDeleted": None, "SpaceReclaimed": 0})


async def commit(call: Call) -> web.Response:
    """An image of a container as it is now."""
    container, repository = call.text("container"), call.text("repo")
    if not container:
        raise InvalidSpec("container: say which container to commit")
    reference = str(reference_of(repository, call.text("tag"))) if repository else ""
    config = await call.json()
    made = await call.backends.images.Commit(
        CommitRequest(
            container=container,
            reference=reference,
            message=call.text("comment"),
            author=call.text("author"),
            no_pause=not call.flag("pause", True),
            changes=[line for text in call.texts("changes") for line in text.splitlines() if line],
            config_json=json.dumps(config).encode() if config else b"",
        )
    )
    return call.reply({"Id": made.id}, 201)


ROUTES: list[Route] = [
    ("POST", "/build", build),
    ("POST", "/build/cancel", cancel),
    ("POST", "/build/prune", prune),
    ("POST", "/commit", commit),
]
