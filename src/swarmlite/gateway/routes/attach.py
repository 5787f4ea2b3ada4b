"""Attaching to a container: a hijacked connection, or a websocket."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
from aiohttp import web

from swarmlite import rpc
from swarmlite.gateway.app import Route
from swarmlite.gateway.request import Call
from swarmlite.gateway.streams.connection import Hijacked, head
from swarmlite.gateway.streams.converse import converse
from swarmlite.gateway.streams.conversing import Conversation, Source
from swarmlite.gateway.streams.frames import content_type
from swarmlite.gateway.streams.handed import Handed
from swarmlite.model import detach_keys
from swarmlite.proto import containers_pb2 as pb


async def _begin(call: Call, start: pb.AttachInput.Start) -> tuple[Any, pb.Container]:
    """The engine's call, in place, and the container. Raises gRPC's error."""
    found = await call.backends.containers.Inspect(pb.InspectContainerRequest(ref=start.ref))
    attached = call.backends.containers.Attach()
    try:
        await attached.write(pb.AttachInput(start=start))
        await rpc.begun(attached)
    except BaseException:
        attached.cancel()
        raise
    return attached, found


async def attach(call: Call) -> web.StreamResponse:
    """Output from now on, or from its start; input until the client's ends."""
    start = pb.AttachInput.Start(
        ref=call.params["name"].removeprefix("/"),
        stdin=call.flag("stdin"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        logs=call.flag("logs"),
        stream=call.flag("stream"),
    )
    keys = detach_keys.parse(call.text("detachKeys") or detach_keys.DEFAULT)
    if start.stream and not start.logs:
        handed: Source | None = await call.backends.supervised.attach(start)
        handed = handed or await Handed.ask(call.backends.paths.attach_socket, start)
        if handed is not None:
            return await _handed(call, handed, keys)
    attached, found = await _begin(call, start)
    tty = found.config.spec.tty
    client = Hijacked(call.http)
    try:
        client.take(head(call.http, content_type(call.version, tty=tty)))
        await converse(
            client,
            attached,
            pb.AttachInput,
            tty=tty,
            stdin=start.stdin,
            detach_keys=keys if tty else None,
        )
    finally:
        attached.cancel()
    return client


async def _handed(call: Call, handed: Source, keys: bytes) -> web.StreamResponse:
    try:
        client = Hijacked(call.http)
        conversation = Conversation(client, handed, keys if handed.tty else None)
        client.take(head(call.http, content_type(call.version, tty=handed.tty)), conversation)
        await conversation.run()
    finally:
        handed.close()
    return client


async def websocket(call: Call) -> web.StreamResponse:
    """The same as binary messages, without frames: a message is output or error output."""
    all_of_them = not call.at_least(42)
    start = pb.AttachInput.Start(
        ref=call.params["name"].removeprefix("/"),
        stdin=all_of_them or call.flag("stdin"),
        stdout=all_of_them or call.flag("stdout"),
        stderr=all_of_them or call.flag("stderr"),
        logs=call.flag("logs"),
        stream=call.flag("stream"),
    )
    attached, _ = await _begin(call, start)
    socket = web.WebSocketResponse()
    await socket.prepare(call.http)
    feeding = asyncio.ensure_future(_feed(socket, attached))
    try:
        async for output in attached:
            if output.data:
                await socket.send_bytes(output.data)
    except grpc.RpcError as error:
        with contextlib.suppress(ConnectionError):
            await socket.send_bytes(str(rpc.translate(error, "the node")).encode())
    finally:
        feeding.cancel()
        attached.cancel()
        await socket.close()
    return socket


async def _feed(socket: web.WebSocketResponse, attached: Any) -> None:
    with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
        async for message in socket:
            if message.type in (web.WSMsgType.BINARY, web.WSMsgType.TEXT):
                data = message.data
                await attached.write(
                    pb.AttachInput(stdin=data.encode() if isinstance(data, str) else data)
                )
        attached.cancel()  # the client has closed it


ROUTES: list[Route] = [
    ("POST", "/containers/{name}/attach", attach),
    ("GET", "/containers/{name}/attach/ws", websocket),
]
