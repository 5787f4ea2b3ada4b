"""What containers use, which processes they have, and what they changed."""

from __future__ import annotations

from aiohttp import web

from swarmlite.docker.stats import stats as shown
from swarmlite.gateway.app import Route
from swarmlite.gateway.fields import containers as fields
from swarmlite.gateway.request import Call, encoded
from swarmlite.gateway.versions import shaped
from swarmlite.proto import containers_pb2 as pb

KINDS = {
    pb.ChangesResponse.MODIFIED: 0,
    pb.ChangesResponse.ADDED: 1,
    pb.ChangesResponse.DELETED: 2,
}


async def stats(call: Call) -> web.StreamResponse:
    """A reading a second, or one: of two readings unless `one-shot`."""
    stream = call.flag("stream", default=True)
    one_shot = call.flag("one-shot") and not stream and call.at_least(41)
    request = pb.StatsRequest(
        refs=[call.params["name"].removeprefix("/")], stream=not one_shot, all=True
    )
    readings = call.backends.containers.Stats(request)
    before: pb.ContainerStats | None = None
    answer: web.StreamResponse | None = None
    try:
        async for reading in readings:
            entry = shaped(fields.STATS, shown(reading, before), call.version)
            if not stream and (one_shot or before is not None or not reading.running):
                return call.reply(entry)
            if stream:
                answer = answer or await call.stream()
                await answer.write(encoded(entry))
            before = reading
    finally:
        readings.cancel()
    return answer or call.reply({})


async def top(call: Call) -> web.Response:
    """Its processes, as ps(1) shows them."""
    words = call.text("ps_args").split()
    found = await call.backends.containers.Top(
        pb.TopRequest(ref=call.params["name"].removeprefix("/"), ps_args=words)
    )
    return call.reply(
        {
            "Titles": list(found.titles),
            "Processes": [list(each.fields) for each in found.processes],
        }
    )


async def changes(call: Call) -> web.Response:
    """What differs from its image."""
    ref = pb.ContainerRef(ref=call.params["name"].removeprefix("/"))
    found = await call.backends.containers.Changes(ref)
    return call.reply([{"Path": c.path, "Kind": KINDS[c.kind]} for c in found.changes])


ROUTES: list[Route] = [
    ("GET", "/containers/{name}/stats", stats),
    ("GET", "/containers/{name}/top", top),
    ("GET", "/containers/{name}/changes", changes),
]
