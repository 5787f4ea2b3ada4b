"""Waiting for a container's end: the head of the answer is sent once the wait is in place."""

from __future__ import annotations

from aiohttp import web

from swarmlite import rpc
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.request import Call, encoded
from swarmlite.proto import containers_pb2 as pb

CONDITIONS = {
    "": pb.WaitContainerRequest.NOT_RUNNING,
    "not-running": pb.WaitContainerRequest.NOT_RUNNING,
    "next-exit": pb.WaitContainerRequest.NEXT_EXIT,
    "removed": pb.WaitContainerRequest.REMOVED,
}


async def wait(call: Call) -> web.StreamResponse:
    """Its exit code, once the condition holds."""
    word = call.text("condition") if call.at_least(30) else ""
    if word not in CONDITIONS:
        raise InvalidSpec(f'invalid condition: "{word[:40]}"')
    request = pb.WaitContainerRequest(
        ref=call.params["name"].removeprefix("/"), condition=CONDITIONS[word]
    )
    waiting = call.backends.wait(request)
    try:
        await rpc.begun(waiting)
        answer = await call.stream()
        done = await waiting.read()
    finally:
        waiting.cancel()
    said = {"Error": {"Message": done.error}} if done.error else {}
    await answer.write(encoded({"StatusCode": done.exit_code, **said}))
    return answer


ROUTES: list[Route] = [("POST", "/containers/{name}/wait", wait)]
