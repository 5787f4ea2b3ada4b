"""What happens on this host and, on a manager, in the swarm: one stream of JSON objects."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import grpc
from aiohttp import web
from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite import rpc
from swarmlite.docker import event as shapes
from swarmlite.docker.swarmevent import KINDS, kinds_of, passes, told
from swarmlite.docker.values import Json
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.fields import system as fields
from swarmlite.gateway.request import Call, encoded
from swarmlite.gateway.versions import shaped
from swarmlite.model.moments import moment
from swarmlite.proto.control_pb2 import Filter, WatchRequest
from swarmlite.proto.host_pb2 import EventsRequest

QUEUE = 1000
AGAIN_S = 1.0
LINES, SEQUENCE = "application/x-ndjson", "application/json-seq"
JSONL = "application/jsonl"


async def events(call: Call) -> web.StreamResponse:
    """From now on, or of the past that is remembered, until the client leaves or `until`."""
    filters = call.filters()
    request = EventsRequest(filters=filters)
    for name in ("since", "until"):
        if call.text(name):
            getattr(request, name).CopyFrom(moment(call.text(name)))
    both = request.HasField("since") and request.HasField("until")
    if both and request.until.ToNanoseconds() < request.since.ToNanoseconds():
        raise InvalidSpec(
            f"`since` time ({call.text('since')}) cannot be after `until` time"
            f" ({call.text('until')})"
        )
    heard = call.backends.host.Events(request)
    queue: asyncio.Queue[Json | None] = asyncio.Queue(QUEUE)
    past_told = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    try:
        await rpc.begun(heard)
        answer = await call.stream(_content_type(call))
        tasks.append(asyncio.create_task(_of_host(heard, queue, past_told)))
        kinds = kinds_of(filters, KINDS)
        watch = WatchRequest(kinds=kinds)
        if request.HasField("since"):
            watch.since.CopyFrom(request.since)
        else:
            past_told.set()
        if call.backends.manager is not None and kinds:
            tasks.append(asyncio.create_task(_of_swarm(call, watch, filters, queue, past_told)))
        else:
            past_told.set()
        await _told(call, answer, queue, request.until if request.HasField("until") else None)
        return answer
    finally:
        for task in tasks:
            task.cancel()
        heard.cancel()


async def _told(
    call: Call,
    answer: web.StreamResponse,
    queue: asyncio.Queue[Json | None],
    until: Timestamp | None,
) -> None:
    """As they come; what lies in the past altogether, in the order of its times."""
    before = b"\x1e" if answer.content_type == SEQUENCE else b""
    until_ns = until.ToNanoseconds() if until is not None else None
    over = until_ns is not None and until_ns <= time.time_ns()
    waiting = []
    while (event := await queue.get()) is not None:
        if until_ns is not None and event["timeNano"] > until_ns:
            continue
        shown = before + encoded(shaped(fields.EVENT, event, call.version))
        if over:
            waiting.append((event["timeNano"], shown))
        else:
            await answer.write(shown)
    for _, shown in sorted(waiting):
        await answer.write(shown)


async def _of_host(heard: Any, queue: asyncio.Queue[Json | None], past_told: asyncio.Event) -> None:
    """The engine's, which also knows when `until` has come; at its end what managers remember."""
    try:
        async for each in heard:
            await queue.put(shapes.body(each))
    except grpc.RpcError:
        pass  # the engine is gone: the stream ends, and clients ask again
    await past_told.wait()
    await queue.put(None)


async def _of_swarm(
    call: Call,
    request: WatchRequest,
    filters: Sequence[Filter],
    queue: asyncio.Queue[Any],
    past_told: asyncio.Event,
) -> None:
    """The managers', for as long as this node is one; watched again when they come back."""
    try:
        while (manager := call.backends.manager) is not None:
            with contextlib.suppress(grpc.RpcError):
                async for response in manager.Watch(request):
                    if not response.events:
                        past_told.set()
                    for each in response.events:
                        body = told(each)
                        if body is not None and passes(body, each, filters):
                            await queue.put(body)
            past_told.set()
            request.ClearField("since")
            await asyncio.sleep(AGAIN_S)
    finally:
        past_told.set()  # however it ends: the stream's own end waits for it


def _content_type(call: Call) -> str:
    """Up to 1.51 it is called plain JSON; later what it is, in the form that a client asks for."""
    if not call.at_least(52):
        return "application/json"
    accepted = call.http.headers.get("Accept", "")
    return next((form for form in (SEQUENCE, LINES) if form in accepted), JSONL)


ROUTES: list[Route] = [("GET", "/events", events)]
