"""Lines of services and tasks, from whichever nodes have them, to one client."""

from __future__ import annotations

import asyncio
import re
import struct
from typing import Any
from urllib.parse import quote_plus

import grpc
from aiohttp import web

from swarmlite.docker.values import log_time
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.request import Call
from swarmlite.gateway.streams.frames import frames
from swarmlite.gateway.swarm import in_docker_s_words
from swarmlite.proto.control_pb2 import (
    LOG_STDERR,
    LOG_STDOUT,
    LogMessage,
    LogOptions,
    LogSelector,
    LogsRequest,
)

STREAMS = {LOG_STDOUT: 1, LOG_STDERR: 2}
SYSTEM_ERROR = 3
LOOK_S = 0.5
CONTEXT = "com.docker.swarm."
_SINCE = re.compile(r"(\d{1,12})(?:\.(\d{1,9})\d*)?", re.ASCII)


def options(call: Call) -> LogOptions:
    """What the query asks for. Raises InvalidSpec."""
    found = LogOptions(
        follow=call.flag("follow"),
        tail=_tail(call.text("tail")),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        plain=not (call.flag("timestamps") or call.flag("details")),
    )
    if not found.stdout and not found.stderr:
        raise InvalidSpec("must specify at least one of 'stdout' or 'stderr'")
    since = call.text("since")
    if since and since != "0":
        moment = _SINCE.fullmatch(since)
        if not moment:
            raise InvalidSpec(f'invalid value for "since": {since[:40]!r} is not a UNIX time')
        found.since.seconds = int(moment[1])
        found.since.nanos = int((moment[2] or "0").ljust(9, "0"))
    return found


def _tail(text: str) -> int:
    if text in ("", "all"):
        return -1
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidSpec('tail value must be a positive integer or "all"')
    return int(text)


async def send_logs(call: Call, selector: LogSelector, tty: bool) -> web.StreamResponse:
    """The answer, complete. `tty`: the lines come without a header each."""
    request = LogsRequest(selector=selector, options=options(call))
    if request.options.follow and selector.service_ids:
        request.options.plain = False  # several tasks' lines are merged by their times
    raw = tty or not call.at_least(42)
    kind = "raw" if raw else "multiplexed"
    lines = call.backends.control.ServiceLogs(request)
    response = await call.stream(f"application/vnd.docker.{kind}-stream")
    sending = asyncio.ensure_future(_send(lines, response, _Shape(call, tty)))
    gone = asyncio.ensure_future(_gone(call))
    try:
        await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            sending.result()
    finally:
        for each in (sending, gone):
            each.cancel()
        lines.cancel()
        await asyncio.gather(sending, gone, return_exceptions=True)
    return response


async def _gone(call: Call) -> None:
    """Until the client has gone: a stream without lines would not notice it."""
    while (transport := call.http.transport) is not None and not transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)


async def _send(lines: Any, response: web.StreamResponse, shape: _Shape) -> None:
    try:
        async for reply in lines:
            await response.write(b"".join(map(shape.line, reply.messages)))
    except grpc.RpcError as error:
        text = f"Error grabbing logs: {in_docker_s_words(error)}\n"
        await response.write(shape.framed(SYSTEM_ERROR, text.encode()))


class _Shape:
    """How a line is written: its header, time and details."""

    def __init__(self, call: Call, tty: bool) -> None:
        self._timestamps, self._details = call.flag("timestamps"), call.flag("details")
        self._tty = tty

    def line(self, message: LogMessage) -> bytes:
        """One message as the client gets it: a line, or many without times and details."""
        if not (self._timestamps or self._details):
            return frames(message.stream, message.data, tty=self._tty)
        before = f"{log_time(message.timestamp)} " if self._timestamps else ""
        if self._details:
            before += details(message) + " "
        return self.framed(STREAMS.get(message.stream, 1), before.encode() + message.data)

    def framed(self, stream: int, data: bytes) -> bytes:
        """`data`, with its header unless there is a terminal."""
        return data if self._tty else struct.pack(">BxxxI", stream, len(data)) + data


def details(message: LogMessage) -> str:
    """ "com.docker.swarm.node.id=...,...": where a line is from, and what its driver keeps."""
    pairs = dict(message.attributes)
    pairs[f"{CONTEXT}node.id"] = message.context.node_id
    pairs[f"{CONTEXT}service.id"] = message.context.service_id
    pairs[f"{CONTEXT}task.id"] = message.context.task_id
    return ",".join(f"{quote_plus(k)}={quote_plus(v)}" for k, v in sorted(pairs.items()))
