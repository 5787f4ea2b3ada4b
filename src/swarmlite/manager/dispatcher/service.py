"""The gRPC side of a session: hello, then reading and writing until either ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio

from swarmlite.errors import InvalidSpec, Unavailable
from swarmlite.manager import auth
from swarmlite.proto.control_pb2 import Empty, TunnelData
from swarmlite.proto.dispatcher_pb2 import (
    AgentMessage,
    AttachContainerRequest,
    AttachContainerResponse,
    DetachContainerRequest,
    FindImageRequest,
    FindImageResponse,
    Hello,
)
from swarmlite.proto.dispatcher_pb2_grpc import DispatcherServicer

from . import sessions
from .loop import Dispatcher

HELLO_TIMEOUT_S = 10.0
Context = Any  # grpc.aio.ServicerContext; grpc ships no types


class DispatcherService(DispatcherServicer):
    """Dispatcher of dispatcher.proto. The caller's node is its certificate's, never its word."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        caller: Callable[[Context], auth.Caller] = auth.caller,
    ) -> None:
        self._dispatcher = dispatcher
        self._attachments = dispatcher.attachments
        self._caller = caller

    async def Session(  # type: ignore[override]  # grpc.aio takes a coroutine that reads and writes
        self, request_iterator: Any, context: Context
    ) -> None:
        """See dispatcher.proto. Reads and writes by `context`, which costs least."""
        who = self._caller(context)
        hello = await _hello(context)
        session = self._dispatcher.open(who.node_id, who.address, hello)
        try:
            await self._serve(session, context)
        finally:
            self._dispatcher.close(session)

    async def AttachContainer(
        self, request: AttachContainerRequest, context: Context
    ) -> AttachContainerResponse:
        """See dispatcher.proto."""
        return await self._attachments.attach(self._caller(context).node_id, request)

    async def DetachContainer(self, request: DetachContainerRequest, context: Context) -> Empty:
        """See dispatcher.proto."""
        await self._attachments.detach(self._caller(context).node_id, request)
        return Empty()

    async def FindImage(self, request: FindImageRequest, context: Context) -> FindImageResponse:
        """See dispatcher.proto."""
        carrying = self._dispatcher.carrying
        if carrying is None:
            raise Unavailable("this manager knows nothing of images")
        return carrying.find(self._caller(context).node_id, request.digest)

    async def Tunnel(  # type: ignore[override]  # as Session
        self, request_iterator: AsyncIterator[TunnelData], context: Context
    ) -> None:
        """See dispatcher.proto."""
        tunnels = self._dispatcher.tunnels
        if tunnels is None:
            raise Unavailable("this manager has no tunnels")
        await tunnels.accept(self._caller(context).node_id, context)

    async def _serve(self, session: sessions.Session, context: Context) -> None:
        """Raises why the session ended, unless the agent closed it itself."""
        loops: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._read(session, context)),
            asyncio.ensure_future(session.write_to(context.write)),
        ]
        try:
            await asyncio.wait([*loops, session.ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for loop in loops:
                loop.cancel()
            results = await asyncio.gather(*loops, return_exceptions=True)
        if session.ended.done():
            raise session.ended.result()
        for result in results:
            # A stream that breaks while it is read or written: the agent will come back.
            if isinstance(result, Exception) and not isinstance(result, grpc.aio.BaseError):
                raise result

    async def _read(self, session: sessions.Session, context: Context) -> None:
        while True:
            message = await context.read()
            if message is grpc.aio.EOF:
                return
            self._dispatcher.received(session, message)


async def _hello(context: Context) -> Hello:
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            message: AgentMessage | Any = await context.read()
    except TimeoutError as error:
        raise Unavailable("no hello came") from error
    if message is grpc.aio.EOF or not message.HasField("hello"):
        raise InvalidSpec("the first message of a session is its hello")
    hello: Hello = message.hello
    return hello
