"""A container's log, as frames or as it was on its terminal."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from swarmlite import rpc
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.request import Call
from swarmlite.gateway.streams.frames import content_type, frames
from swarmlite.model.moments import moment
from swarmlite.model.numerals import decimal
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.control_pb2 import LogOptions


def options(call: Call) -> LogOptions:
    """What a query of logs asks for, of a container, a service or a task. Raises InvalidSpec."""
    made = LogOptions(
        follow=call.flag("follow"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        tail=_tail(call.text("tail")),
    )
    if not (made.stdout or made.stderr):
        raise InvalidSpec("Bad parameters: you must choose at least one stream")
    for name in ("since", "until"):
        # "0" is how clients say that they ask for no time.
        if call.text(name) not in ("", "0"):
            getattr(made, name).CopyFrom(moment(call.text(name)))
    return made


def _tail(text: str) -> int:
    """A number of lines; all of them for anything else, as in Docker."""
    lines = decimal(text, 0, 2**31)
    return -1 if lines is None else lines


async def logs(call: Call) -> web.StreamResponse:
    """What it wrote, and with `follow` what it writes until it ends."""
    ref = call.params["name"].removeprefix("/")
    wanted = options(call)
    container = await call.backends.containers.Inspect(pb.InspectContainerRequest(ref=ref))
    tty = container.config.spec.tty
    request = pb.ContainerLogsRequest(
        ref=container.id,
        options=wanted,
        plain=True,
        timestamps=call.flag("timestamps"),
        details=call.flag("details"),
    )
    reading = call.backends.containers.Logs(request)
    try:
        return await _written(call, reading, tty=tty)
    finally:
        reading.cancel()


async def _written(call: Call, reading: Any, *, tty: bool) -> web.StreamResponse:
    # An answer that fails begins with the status, so that the first message is awaited; what is
    # followed may write nothing for long, and is answered once nothing more can be missed.
    kind = content_type(call.version, tty=tty)
    answer = None
    if call.flag("follow"):
        await rpc.begun(reading)
        answer = await call.stream(kind)
    async for reply in reading:
        answer = answer or await call.stream(kind)
        for text in reply.messages:
            await answer.write(frames(text.stream, text.data, tty=tty))
    return answer or await call.stream(kind)


ROUTES: list[Route] = [("GET", "/containers/{name}/logs", logs)]
