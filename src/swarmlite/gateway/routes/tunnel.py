"""A connection to one of this node's own sockets, for swarmlite's command line on another host.

`POST /swarmlite/SERVICE` with `Upgrade: tcp`: what follows the 101 is the service's. Whoever may
ask for it may make any container here, and so is root on this host already.
"""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from swarmlite.client import membership
from swarmlite.client.reach.api import SERVICES
from swarmlite.client.reach.local import Local
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.request import Call
from swarmlite.gateway.streams.connection import Hijacked, head, wants_upgrade
from swarmlite.gateway.streams.frames import RAW

CHUNK_BYTES = 256 * 1024


async def tunnel(call: Call) -> web.StreamResponse:
    """Bytes both ways, each as the other side takes them."""
    service = call.params["service"]
    if service not in SERVICES:
        raise Refused(404, f"unknown service {service[:40]!r}: one of {', '.join(SERVICES)}")
    if not wants_upgrade(call.http):
        raise InvalidSpec(f"/swarmlite/{service}: ask with Connection: Upgrade and Upgrade: tcp")
    reader, writer = await _opened(call, service)
    client = Hijacked(call.http)
    client.take(head(call.http, RAW))
    feeding = asyncio.ensure_future(_feed(client, writer))
    try:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK_BYTES):
                await client.write(data)
    finally:
        feeding.cancel()
        writer.transport.abort()
    return client


async def _opened(call: Call, service: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    path = Local(call.settings.paths).describe(service)
    try:
        return await asyncio.open_unix_connection(path, limit=CHUNK_BYTES)
    except OSError as error:
        if service == "manager" and not membership.is_manager(call.settings.paths):
            inside = membership.in_swarm(call.settings.paths)
            said = membership.WORKER if inside else membership.outside("swarmlite")
            raise Refused(503, said) from error
        raise Refused(503, f"the {service} of this node does not answer: {error}") from error


async def _feed(client: Hijacked, writer: asyncio.StreamWriter) -> None:
    """What the client writes, and its end."""
    with contextlib.suppress(ConnectionError):
        while data := await client.read():
            writer.write(data)
            await writer.drain()
        writer.write_eof()


ROUTES: list[Route] = [("POST", "/swarmlite/{service}", tunnel)]
