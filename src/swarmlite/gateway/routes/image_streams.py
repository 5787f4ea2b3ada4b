"""The endpoints of images that stream: pull, import, load, save, push.

What fails before the first line is an answer with its status; what fails later is an error's line.
Loads and pushes begin with a line, as Docker's do: clients look for their errors in the stream.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import grpc
from aiohttp import web

from swarmlite import rpc
from swarmlite.docker import imageprogress as lines
from swarmlite.docker.reading.platform import platform_object
from swarmlite.docker.values import Json
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.request import Call, encoded
from swarmlite.model.references import Reference
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.proto.images_pb2 import (
    ImageProgress,
    ImportImageRequest,
    ImportOptions,
    LoadImageRequest,
    PullImageRequest,
    PushImageRequest,
    SaveImagesRequest,
)
from swarmlite.proto.types_pb2 import Platform

CHUNK_BYTES = 256 * 1024
TAR = "application/x-tar"
ARCHITECTURES = (
    *("386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"),
    "wasm",
)

Lines = Callable[[ImageProgress], Iterable[Json]]


def platform(text: str) -> Platform | None:
    """`linux/arm/v7`, `arm64` or OCI's JSON of it; None without one. Raises InvalidSpec."""
    if not text:
        return None
    if text.startswith("{"):
        return Platform(**platform_object(text))
    words = text.lower().split("/")
    if len(words) == 1:
        words = [words[0], ""] if words[0] in ("linux", "windows") else ["linux", words[0]]
    os, architecture, variant = (*words, "", "")[:3]
    if len(words) > 3 or os not in ("linux", "windows"):
        raise _bad_platform(text)
    if architecture and architecture not in ARCHITECTURES:
        raise _bad_platform(text)
    return Platform(os=os, architecture=architecture, variant=variant)


def one_platform(call: Call) -> Platform | None:
    """The platform of an archive, which came with 1.48. Raises InvalidSpec, Refused."""
    texts = call.texts("platform") if call.at_least(48) else []
    if len(texts) > 1 and not call.at_least(52):
        raise InvalidSpec(
            "multiple platform parameters are not supported in this API version; use API version"
            " 1.52 or later"
        )
    if len(texts) > 1:
        raise Refused(501, "platform: swarmlite takes one at a time")
    return platform(texts[0]) if texts else None


def _bad_platform(text: str) -> InvalidSpec:
    return InvalidSpec(
        f"invalid platform {text[:60]!r}: unknown operating system or architecture,"
        " expected OS[/ARCHITECTURE[/VARIANT]] such as linux/amd64"
    )


def credentials(call: Call) -> str:
    """The registry's login that was sent, as the engine takes it. Raises InvalidSpec."""
    found = call.auth_header()
    return base64.urlsafe_b64encode(json.dumps(found).encode()).decode() if found else ""


# pull and import
async def create(call: Call) -> web.StreamResponse:
    """An image from a registry, or of a tar."""
    if call.text("fromSrc"):
        return await import_(call)
    name = call.text("fromImage")
    if not name:
        raise InvalidSpec("fromImage: say which image to pull, or fromSrc which to import")
    return await pull(call, reference_of(name, call.text("tag")))


def reference_of(name: str, tag: str) -> Reference:
    """Of the two parameters; a digest comes as a tag. Raises InvalidSpec."""
    if not tag:
        return Reference.parse(name)
    return Reference.parse(f"{name}@{tag}" if ":" in tag else f"{_untagged(name)}:{tag}")


def _untagged(name: str) -> str:
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


async def pull(call: Call, reference: Reference) -> web.StreamResponse:
    """A line a step of each layer."""
    images, before = call.backends.images, await image_id(call, str(reference))
    request = PullImageRequest(
        ref=str(reference),
        registry_auth=credentials(call),
        platform=platform(call.text("platform")),
    )

    def shown(message: ImageProgress) -> Iterable[Json]:
        if message.HasField("image"):
            image = message.image
            yield from lines.pulled(reference, image, new=image.id != before)
        elif (step := lines.step(message)) is not None:
            yield step

    try:
        return await _stream(call, images.Pull(request), shown, [lines.pulling(reference)])
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
            raise
        raise Refused(
            404,
            f"pull access denied for {reference.name}, repository does not exist or may require"
            f" 'docker login': {error.details()}",
        ) from error


async def image_id(call: Call, ref: str) -> str:
    """Of an image of this host; empty where there is none."""
    try:
        return str((await call.backends.images.Inspect(GetRequest(ref=ref))).image.id)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return ""


async def import_(call: Call) -> web.StreamResponse:
    """An image of one layer, the tar that was sent."""
    source, repository = call.text("fromSrc"), call.text("repo")
    if source != "-":
        raise Refused(
            501,
            "import from an address is not supported by swarmlite: download it and send the tar"
            " (fromSrc=-)",
        )
    reference = str(reference_of(repository, call.text("tag"))) if repository else ""
    options = ImportOptions(
        reference=reference,
        message=call.text("message"),
        changes=call.texts("changes"),
        platform=platform(call.text("platform")),
    )

    async def requests() -> AsyncIterator[ImportImageRequest]:
        yield ImportImageRequest(options=options)
        async for chunk in call.http.content.iter_chunked(CHUNK_BYTES):
            yield ImportImageRequest(chunk=chunk)

    made = await call.backends.images.Import(requests())
    response = await call.stream()
    await response.write(encoded({"status": made.id}))
    return response


# archives
async def load(call: Call) -> web.StreamResponse:
    """The images of an archive."""
    quiet, wanted = call.flag("quiet"), one_platform(call)

    async def requests() -> AsyncIterator[LoadImageRequest]:
        yield LoadImageRequest(platform=wanted)
        async for chunk in call.http.content.iter_chunked(CHUNK_BYTES):
            yield LoadImageRequest(chunk=chunk)

    def shown(message: ImageProgress) -> Iterable[Json]:
        if message.HasField("image"):
            yield from lines.loaded(message.image)
        elif not quiet and (step := lines.step(message)) is not None:
            yield step

    return await _stream(call, call.backends.images.Load(requests()), shown, always=True)


async def save_one(call: Call) -> web.StreamResponse:
    """An archive of one image."""
    return await _save(call, [call.params["name"]])


async def save(call: Call) -> web.StreamResponse:
    """An archive of several."""
    names = [name for text in call.texts("names") for name in text.split(",") if name]
    if not names:
        raise InvalidSpec("names: say which images to save")
    return await _save(call, names)


async def _save(call: Call, refs: list[str]) -> web.StreamResponse:
    request = SaveImagesRequest(refs=refs, platform=one_platform(call))
    chunks = aiter(call.backends.images.Save(request))
    first = await anext(chunks, None)  # what cannot be saved still has a status of its own
    response = await call.stream(TAR)
    if first is not None:
        await response.write(first.data)
        async for chunk in chunks:
            await response.write(chunk.data)
    return response


# push
async def push(call: Call) -> web.StreamResponse:
    """A line a step of each layer; then what the registry has now."""
    name, tag = call.params["name"], call.text("tag")
    reference = reference_of(name, tag)
    request = PushImageRequest(
        ref=str(reference) if tag else name,
        registry_auth=credentials(call),
        platform=platform(call.text("platform")) if call.at_least(46) else None,
        all_tags=not tag and ":" not in name.rpartition("/")[2],
    )

    def shown(message: ImageProgress) -> Iterable[Json]:
        if message.HasField("pushed"):
            yield from lines.pushed(message.pushed)
        elif (step := lines.step(message)) is not None:
            yield step

    messages = call.backends.images.Push(request)
    return await _stream(call, messages, shown, [lines.pushing(reference)], always=True)


async def _stream(
    call: Call, messages: Any, shown: Lines, first: Iterable[Json] = (), *, always: bool = False
) -> web.StreamResponse:
    """Lines of JSON of what a call of the engine streams.

    It begins with the first message; with `always` at once, so that every error is a line.
    Raises AioRpcError for what fails before.
    """
    incoming = aiter(messages)
    response: web.StreamResponse | None = None

    async def begun() -> web.StreamResponse:
        made = await call.stream()
        for line in first:
            await made.write(encoded(line))
        return made

    try:
        response = await begun() if always else None
        message = await anext(incoming, None)
        response = response or await begun()
        while message is not None:
            for line in shown(message):
                await response.write(encoded(line))
            message = await anext(incoming, None)
    except grpc.aio.AioRpcError as error:
        if response is None:
            raise
        await response.write(encoded(lines.failed(str(rpc.translate(error, "the node")))))
    finally:
        messages.cancel()  # a client that went away wants no more of it
    return response


ROUTES: list[Route] = [
    ("POST", "/images/create", create),
    ("POST", "/images/load", load),
    ("GET", "/images/get", save),
    ("GET", "/images/{name:path}/get", save_one),
    ("POST", "/images/{name:path}/push", push),
]
