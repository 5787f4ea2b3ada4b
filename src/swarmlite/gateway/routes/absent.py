"""What Docker has and swarmlite has not, said clearly."""

from __future__ import annotations

from aiohttp import web

from swarmlite.gateway.app import Route
from swarmlite.gateway.request import Call, not_there


async def no_plugins(call: Call) -> web.Response:
    """There are none."""
    return call.reply([])


async def plugins(call: Call) -> web.Response:
    """And none can be had."""
    raise not_there("the plugin API")


async def sessions(call: Call) -> web.Response:
    """BuildKit's."""
    raise not_there("BuildKit's session API (build with DOCKER_BUILDKIT=0)")


ROUTES: list[Route] = [
    ("GET", "/plugins", no_plugins),
    ("GET", "/plugins/{rest:path}", plugins),
    ("POST", "/plugins/{rest:path}", plugins),
    ("DELETE", "/plugins/{rest:path}", plugins),
    ("POST", "/session", sessions),
    ("POST", "/grpc", sessions),
]
