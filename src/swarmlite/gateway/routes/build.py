"""Builds, as the classic builder's clients ask for them; and images made of containers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from io import BytesIO
from typing import Any

import grpc
from aiohttp import web

from swarmlite import rpc, rpc_errors
from swarmlite.build.context.remote import is_git, is_http
from swarmlite.build.context.sources import DOCKERFILE, Sources
from swarmlite.docker import buildprogress
from swarmlite.docker.reading import build as reading
from swarmlite.docker.reading import container as container_reading
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.gateway.app import Route
from swarmlite.gateway.request import Call, encoded
from swarmlite.gateway.routes.image_streams import (
    image_id,
    platform,
    reference_of,
)
from swarmlite.proto.build_pb2 import (
    BuildOptions,
    BuildProblem,
    BuildRequest,
    PruneBuildCacheRequest,
)
from swarmlite.proto.control_pb2 import Empty
from swarmlite.proto.images_pb2 import CommitRequest

log = logging.getLogger(__name__)
PIECE_BYTES = 64 * 1024
"""Of a context, at least, as it goes on to the engine."""


async def build(call: Call) -> web.StreamResponse:
    """An image from a Dockerfile: the body is the context's tar, or `remote` says where it is.

    What is wrong before the first step has a status of its own; what fails later is a line.
    """
    options = reading.options(call.http.query, call.texts, call.flag, call.number)
    wanted = platform(call.text("platform"))
    if wanted is not None:
        options.platform.CopyFrom(wanted)
    options.registry_auths.update(reading.registry_auths(call.auth_header("X-Registry-Config")))
    options.drop_ignored = options.takes_more = True
    await _known_caches(call, options)
    remote = call.text("remote")
    async with AsyncExitStack() as stack:
        if remote:
            requests = await _remote(options, remote, "dockerfile" in call.http.query, stack)
        else:
            requests = _sent(options, call)
        cache = not options.no_cache
        return await _streamed(call, call.backends.builds.Build(requests), cache=cache)


async def _sent(options: BuildOptions, call: Call) -> AsyncIterator[BuildRequest]:
    yield BuildRequest(options=options)
    pieces: list[bytes] = []
    size = 0
    async for piece in call.http.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield BuildRequest(context=b"".join(pieces) if len(pieces) > 1 else piece)
            pieces, size = [], 0
    yield BuildRequest(context=b"".join(pieces))
    yield BuildRequest(context_end=Empty())


async def _remote(
    options: BuildOptions, address: str, named: bool, stack: AsyncExitStack
) -> AsyncIterator[BuildRequest]:
    """The same of an address; a thread fetches it. Never of a path: that is this host's."""
    if not (is_git(address) or is_http(address)):
        raise InvalidSpec(f"remote: {address[:80]!r}: expected an address of a tar or a repository")
    sources = stack.enter_context(Sources(BytesIO(), log.warning))
    # Clients say `Dockerfile` where nobody did.
    file = options.dockerfile if named and options.dockerfile != DOCKERFILE else ""
    source = await asyncio.to_thread(sources.main, address, file)
    options.dockerfile_name = source.name
    if source.inline is not None:
        options.dockerfile_inline = source.inline

    async def requests() -> AsyncIterator[BuildRequest]:
        yield BuildRequest(options=options)
        while (chunk := await asyncio.to_thread(next, source.chunks, None)) is not None:
            yield BuildRequest(context=chunk)
        yield BuildRequest(context_end=Empty())

    return requests()


async def _known_caches(call: Call, options: BuildOptions) -> None:
    """Of `cachefrom`, the images that are here; where none is, nothing is taken from a cache."""
    named = list(options.cache_from)
    found = [name for name in named if await image_id(call, name)]
    options.cache_from[:] = found
    options.no_cache = options.no_cache or bool(named and not found)


async def _streamed(call: Call, events: Any, *, cache: bool) -> web.StreamResponse:
    lines = buildprogress.BuildLines(quiet=call.flag("q"), cache=cache)
    response: web.StreamResponse | None = None
    problems: list[str] = []
    failure: SwarmliteError | None = None
    exit_code = 0
    try:
        async for message in events:
            text = b""
            for event in (message, *message.more):
                if event.HasField("problem"):
                    problems.append(_problem(event.problem))
                if event.HasField("failure"):
                    said = event.failure
                    failure = rpc_errors.from_status(said.code, said.text, "the node")
                exit_code = exit_code or event.step_done.exit_code
                text += b"".join(encoded(line) for line in lines.of(event))
            if text:
                response = response or await call.stream()
                await response.write(text)
    except grpc.aio.AioRpcError as error:
        failed = failure or rpc.translate(error, "the node")
        message = "\n".join(problems) or str(failed)
        if response is None and isinstance(failed, InvalidSpec):
            raise InvalidSpec(message) from error
        if response is None and not call.flag("q"):
            raise failed from error
        response = response or await call.stream()
        await response.write(encoded(buildprogress.failed(message, exit_code)))
    finally:
        events.cancel()  # a client that went away wants no more of it
    return response or await call.stream()


def _problem(problem: BuildProblem) -> str:
    line = f" line {problem.line}" if problem.line else ""
    return f"dockerfile parse error{line}: {problem.text}"


async def cancel(call: Call) -> web.Response:
    """A build ends with its client's connection; those that are known by an id are BuildKit's."""
    return call.empty()


async def prune(call: Call) -> web.Response:
    """The cache of builds: all of it with `all`, and down to `keep-storage` bytes."""
    keep = call.number("max-used-space") or call.number("keep-storage") or 0
    filters = call.filters()
    reply = await call.backends.builds.PruneCache(
        PruneBuildCacheRequest(filters=filters, all=call.flag("all"), keep_bytes=max(keep, 0))
    )
    return call.reply(
        {"CachesDeleted": list(reply.deleted) or None, "SpaceReclaimed": reply.reclaimed_bytes}
    )


async def commit(call: Call) -> web.Response:
    """An image of a container as it is now."""
    container, repository = call.text("container"), call.text("repo")
    if not container:
        raise InvalidSpec("container: say which container to commit")
    reference = str(reference_of(repository, call.text("tag"))) if repository else ""
    config = container_reading.committed(await call.json())
    made = await call.backends.images.Commit(
        CommitRequest(
            container=container,
            reference=reference,
            message=call.text("comment"),
            author=call.text("author"),
            no_pause=not call.flag("pause", True),
            changes=[line for text in call.texts("changes") for line in text.splitlines() if line],
            config_json=json.dumps(config).encode() if config else b"",
        )
    )
    return call.reply({"Id": made.id}, 201)


ROUTES: list[Route] = [
    ("POST", "/build", build),
    ("POST", "/build/cancel", cancel),
    ("POST", "/build/prune", prune),
    ("POST", "/commit", commit),
]
