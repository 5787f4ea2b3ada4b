"""A container's log, as frames or as it was on its terminal."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from swarmlite.docker import values
from swarmlite.docker.loglines import Joiner, attributes
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.request import Call
from swarmlite.gateway.streams.frames import content_type, frame, frames
from swarmlite.model.moments import moment
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.control_pb2 import LogMessage, LogOptions


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
    return min(int(text), 2**31) if text.isascii() and text.isdecimal() else -1


async def logs(call: Call) -> web.StreamResponse:
    """What it wrote, and with `follow` what it writes until it ends."""
    ref = call.params["name"].removeprefix("/")
    wanted = options(call)
    container = await call.backends.containers.Inspect(pb.InspectContainerRequest(ref=ref))
    tty = container.config.spec.tty
    whole = call.flag("timestamps") or call.flag("details")
    request = pb.ContainerLogsRequest(
        ref=container.id, options=wanted, details=call.flag("details"), plain=not whole
    )
    reading = call.backends.containers.Logs(request)
    try:
        return await _written(call, reading, tty=tty, whole=whole)
    finally:
        reading.cancel()


async def _written(call: Call, reading: Any, *, tty: bool, whole: bool) -> web.StreamResponse:
    # An answer that fails begins with the status, so that the first message is awaited; what is
    # followed may write nothing for long.
    answer = await call.stream(content_type(call.version, tty=tty)) if _follows(call) else None
    joiner = Joiner()
    async for reply in reading:
        answer = answer or await call.stream(content_type(call.version, tty=tty))
        pieces = []
        for message in reply.messages:
            line = joiner.add(message.stream, message) if whole else message
            if line is not None:
                pieces.append(frames(line.stream, prefix(call, line) + line.data, tty=tty))
        await answer.write(b"".join(pieces))
    answer = answer or await call.stream(content_type(call.version, tty=tty))
    for line in joiner.rest():
        await answer.write(frame(line.stream, prefix(call, line) + line.data, tty=tty))
    return answer


def _follows(call: Call) -> bool:
    return call.flag("follow")


def prefix(call: Call, line: LogMessage) -> bytes:
    """What stands before a line: its time, and what its log driver kept."""
    said = f"{values.log_time(line.timestamp)} " if call.flag("timestamps") else ""
    if call.flag("details"):
        said += f"{attributes(line.attributes)} "
    return said.encode()


ROUTES: list[Route] = [("GET", "/containers/{name}/logs", logs)]
