"""What a caller asks for and this manager's view lacks: another manager may have acknowledged it
just now, and the watch brings it a moment later. It is looked up before it is "not found".
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio

from .store.api import Missing

T = TypeVar("T")
LookUp = Callable[[str, str], Awaitable[bool]]
"""Whether the store has an object of this kind and id or name; then the view has it too."""


class _Looked:
    """What was looked up for one call: each once."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._looked: set[tuple[str, str]] = set()

    async def up(self, missing: Missing) -> None:
        """Return once the view has it. Raises `missing` where there is no such thing."""
        at = missing.kind, missing.ref
        if at in self._looked or not await self._look_up(*at):
            raise missing
        self._looked.add(at)


async def found(look_up: LookUp, find: Callable[[], T]) -> T:
    """What `find` answers, once it no longer raises Missing for what the store has."""
    looked = _Looked(look_up)
    while True:
        try:
            return find()
        except Missing as missing:
            await looked.up(missing)


class LooksAgain(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Serves calls of one request once more when they raised Missing, before they answered: so
    early nothing is written, or what is safe to repeat. Those that read a stream use `found`.
    """

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler

        async def one(request: Any, context: Any) -> Any:
            looked = _Looked(self._look_up)
            while True:
                try:
                    return await handler.unary_unary(request, context)
                except Missing as missing:
                    await looked.up(missing)

        async def many(request: Any, context: Any) -> AsyncIterator[Any]:
            looked, answered = _Looked(self._look_up), False
            while True:
                try:
                    async for message in handler.unary_stream(request, context):
                        answered = True
                        yield message
                    return
                except Missing as missing:
                    if answered:
                        raise
                    await looked.up(missing)

        kwargs = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(one, **kwargs)
        # A coroutine writes by itself, so whether it has answered is not known.
        if not inspect.isasyncgenfunction(handler.unary_stream):
            return handler
        return grpc.unary_stream_rpc_method_handler(many, **kwargs)
