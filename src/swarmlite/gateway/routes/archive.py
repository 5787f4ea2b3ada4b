"""Files of a container as tars: cp in both directions, export."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from aiohttp import web

from swarmlite.docker import pathstat
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.gateway.app import Route
from swarmlite.gateway.request import Call
from swarmlite.gateway.streams.decompression import plain
from swarmlite.proto import containers_pb2 as pb

TAR = "application/x-tar"
STAT = "X-Docker-Container-Path-Stat"
END_BYTES = 1024
"""What an archive ends with: two blocks of zeros."""
CHUNK_BYTES = 256 * 1024


def _path(call: Call) -> pb.PathRequest:
    if not call.text("path"):
        raise InvalidSpec("bad parameter: 'path' cannot be empty")
    return pb.PathRequest(ref=call.params["name"].removeprefix("/"), path=call.text("path"))


async def stat(call: Call) -> web.Response:
    """What is at the path, in a header."""
    found = await call.backends.containers.StatPath(_path(call))
    return web.Response(headers={STAT: pathstat.header(found)})


async def get(call: Call) -> web.StreamResponse:
    """A tar of what is at the path."""
    reading = call.backends.containers.CopyFrom(_path(call))
    try:
        first = await anext(aiter(reading))
        headers = {STAT: pathstat.header(first.stat), "Content-Type": TAR}
        answer = web.StreamResponse(headers=headers)
        await answer.prepare(call.http)
        async for message in reading:
            await answer.write(message.data)
    finally:
        reading.cancel()
    return answer


async def put(call: Call) -> web.Response:
    """A tar, plain or compressed, unpacked into the directory at the path."""
    path = _path(call)
    to = pb.CopyToRequest.To(
        ref=path.ref,
        path=path.path,
        no_overwrite_dir_non_dir=call.flag("noOverwriteDirNonDir"),
        copy_uid_gid=call.flag("copyUIDGID"),
    )

    async def chunks() -> AsyncIterator[pb.CopyToRequest]:
        yield pb.CopyToRequest(to=to)
        if not call.http.body_exists:  # Docker takes it for an archive of nothing
            yield pb.CopyToRequest(data=bytes(END_BYTES))
            return
        async for data in plain(call.http.content.iter_chunked(CHUNK_BYTES)):
            yield pb.CopyToRequest(data=data)

    damaged: list[SwarmliteError] = []

    async def sent() -> AsyncIterator[pb.CopyToRequest]:
        try:
            async for message in chunks():
                yield message
        except SwarmliteError as error:
            damaged.append(error)
            raise

    try:
        await call.backends.containers.CopyTo(sent())
    except (grpc.RpcError, asyncio.CancelledError):
        if damaged:  # gRPC says only that the requests ended
            raise damaged[0] from None
        raise
    return call.empty(200)


async def export(call: Call) -> web.StreamResponse:
    """A tar of the whole file system."""
    ref = pb.ContainerRef(ref=call.params["name"].removeprefix("/"))
    reading = call.backends.containers.Export(ref)
    answer: web.StreamResponse | None = None
    try:
        async for chunk in reading:
            answer = answer or await call.stream(TAR)
            await answer.write(chunk.data)
    finally:
        reading.cancel()
    return answer or web.Response(headers={"Content-Type": TAR})


ROUTES: list[Route] = [
    ("HEAD", "/containers/{name}/archive", stat),
    ("GET", "/containers/{name}/archive", get),
    ("PUT", "/containers/{name}/archive", put),
    ("GET", "/containers/{name}/export", export),
]
