"""Builds: not here yet, and said so."""

from __future__ import annotations

from aiohttp import web

from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.request import Call


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


ROUTES: list[Route] = [
    ("POST", "/build", build),
    ("POST", "/build/cancel", cancel),
    ("POST", "/build/prune", prune),
]
