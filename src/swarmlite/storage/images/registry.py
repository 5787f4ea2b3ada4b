"""What a registry is asked for: manifests by tag or digest, blobs into files.

Source: OCI distribution-spec ("Pulling manifests", "Pulling blobs").
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from swarmlite.errors import InvalidSpec, NotFound, Unavailable
from swarmlite.model.references import Reference, is_tag
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.encodings import Decoder, decoder, read_answer
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.manifest import (
    ACCEPTED,
    Descriptor,
    digest_of,
)
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.transport import NETWORK_ERRORS, Retryable, Transport
from swarmlite.storage.images.types import Limits

_CHUNK = 256 << 10
_TAGS_A_PAGE = 100
MAX_TAGS = 10_000
_WRITE = 1 << 20


@dataclass(frozen=True)
class Document:
    """A manifest as it was sent; the digest is of these bytes."""

    data: bytes
    media_type: str
    digest: str


class Repository:
    """One repository of a registry; an async context manager, used on one event loop."""

    def __init__(
        self,
        reference: Reference,
        auth: RegistryAuth | None,
        settings: RegistrySettings,
        limits: Limits | None = None,
        *,
        actions: str = "pull",
        mirror: URL | None = None,
    ) -> None:
        """`actions`: what a token is asked for, "pull,push" to push.

        `mirror` is asked in the registry's place; nobody's credentials go there.
        """
        self.reference = reference
        self._limits = limits or Limits()
        self.scope = f"repository:{reference.path}:{actions}"
        if mirror is not None:
            self.transport = Transport(mirror.authority, None, settings, mirror.origin())
            return
        auth = auth.only_for(reference.domain) if auth else None
        self.transport = Transport(reference.host, auth, settings)

    async def __aenter__(self) -> Repository:
        await self.transport.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.transport.__aexit__(*error)

    async def manifest(self, target: str) -> Document:
        """The manifest of a tag or digest, checked against a digest.

        Raises NotFound, PermissionDenied, Unavailable, InvalidSpec.
        """
        path = f"{self.reference.path}/manifests/{target}"
        try:
            data, media_type = await self._small(
                path, self._limits.manifest_bytes, ", ".join(ACCEPTED)
            )
        except NotFound as error:
            raise NotFound(
                f"no such image: {self.reference} (registry {self.transport.host} "
                f"has no manifest {target})"
            ) from error
        algorithm = target.partition(":")[0] if ":" in target else "sha256"
        digest = await in_thread(digest_of, data, algorithm)
        if ":" in target and digest != target:
            raise InvalidSpec(f"the manifest {target} arrived with the digest {digest}")
        return Document(data, media_type, digest)

    async def blob(self, descriptor: Descriptor) -> bytes:
        """A small blob, such as a config, checked; raises as `manifest`."""
        limit = self._limits.config_bytes
        if descriptor.size > limit:
            raise InvalidSpec(
                f"the image's config is {descriptor.size} bytes long, more than {limit}"
            )
        path = f"{self.reference.path}/blobs/{descriptor.digest}"
        data, _ = await self._small(path, limit, "*/*")
        algorithm = descriptor.digest.partition(":")[0]
        digest = await in_thread(digest_of, data, algorithm)
        if len(data) != descriptor.size or digest != descriptor.digest:
            raise InvalidSpec(f"blob {descriptor.digest} arrived with another content")
        return data

    async def tags(self) -> list[str]:
        """Every tag, in the registry's order; those that are no tags are left out.

        Raises as `manifest`, and InvalidSpec where there are more than MAX_TAGS.
        """
        found: dict[str, None] = {}
        last = ""
        while True:
            after = f"&last={quote(last)}" if last else ""
            path = f"{self.reference.path}/tags/list?n={_TAGS_A_PAGE}{after}"
            data, _ = await self._small(path, self._limits.manifest_bytes, "application/json")
            page = [tag for tag in tags_of(data) if tag not in found]
            found.update(dict.fromkeys(page))
            if len(found) > MAX_TAGS:
                raise InvalidSpec(f"{self.reference.name} has more than {MAX_TAGS} tags")
            if not page:  # some registries cut pages shorter, and some know none
                return list(found)
            last = page[-1]

    async def _small(self, path: str, limit: int, accept: str) -> tuple[bytes, str]:
        attempt = 0
        while True:
            try:
                return await self._small_once(path, limit, accept)
            except Retryable as failure:
                await self.transport.pause(failure, attempt)
                attempt += 1

    async def _small_once(self, path: str, limit: int, accept: str) -> tuple[bytes, str]:
        headers = {"Accept": accept}
        async with self.transport.request(
            "GET", path, scope=self.scope, headers=headers
        ) as response:
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
            window_s = self.transport.slow_window_s
            return await read_answer(response, limit, path, window_s), media_type

    async def download(
        self, descriptor: Descriptor, target: Path, progress: Callable[[int], None]
    ) -> None:
        """Bring a blob into the file `target`, going on where it ends; checks size and digest.

        Cancelled or failed: `target` keeps what had arrived, unless that was wrong.
        Raises NotFound, PermissionDenied, Unavailable, InvalidSpec, OSError.
        """
        attempt = 0
        target.touch(mode=0o600)
        state = await in_thread(hash_so_far, target, descriptor)
        with target.open("ab", buffering=0) as file:
            download = Download(file, descriptor, state)
            while not download.complete:
                before = download.have
                try:
                    await self._attempt(download, progress)
                except Retryable as failure:
                    attempt = 0 if download.have > before else attempt
                    await self.transport.pause(failure, attempt)
                    attempt += 1
        if download.digest != descriptor.digest:
            target.unlink(missing_ok=True)
            raise InvalidSpec(
                f"layer {descriptor.short} arrived damaged: its digest is {download.digest}, "
                f"not {descriptor.digest}"
            )

    async def _attempt(self, download: Download, progress: Callable[[int], None]) -> None:
        descriptor = download.descriptor
        path: str | URL = f"{self.reference.path}/blobs/{descriptor.digest}"
        headers = {"Range": f"bytes={download.have}-"} if download.have else {}
        try:
            await self._stream(path, headers, download, progress)
        except NotFound:
            if not descriptor.urls:
                raise
            await self._elsewhere(headers, download, progress)
        if not download.complete:
            raise Retryable(
                Unavailable(
                    f"registry {self.transport.host} sent {download.have} of "
                    f"{descriptor.size} bytes of layer {descriptor.short}"
                )
            )

    async def _elsewhere(
        self, headers: dict[str, str], download: Download, progress: Callable[[int], None]
    ) -> None:
        """A foreign layer, from where its manifest says; nobody's credentials go there."""
        urls = [URL(url) for url in download.descriptor.urls if url.startswith(("https:", "http:"))]
        for url in urls:
            try:
                await self._stream(url, headers, download, progress)
            except NotFound:
                continue
            return
        raise NotFound(
            f"layer {download.descriptor.short} is neither in registry {self.transport.host} nor "
            f"at any of its {len(urls)} URLs"
        )

    async def _stream(
        self,
        path: str | URL,
        headers: dict[str, str],
        download: Download,
        progress: Callable[[int], None],
    ) -> None:
        async with self.transport.request(
            "GET", path, scope=self.scope, headers=headers
        ) as response:
            download.check_start(response)
            try:
                async for piece in _gathered(self.transport.steady(response)):
                    # a disk may make whoever writes wait, and a hash of a MiB takes a while
                    await in_thread(download.write, piece)
                    progress(download.have)
            except NETWORK_ERRORS as error:
                raise Retryable(
                    Unavailable(
                        f"the connection to registry {self.transport.host} broke at byte "
                        f"{download.have} of {download.descriptor.size} of layer "
                        f"{download.descriptor.short}"
                    )
                ) from error


class Download:
    """A blob on its way into a file that is open for appending."""

    def __init__(self, file: Any, descriptor: Descriptor, state: Any) -> None:
        self._file = file
        self.descriptor = descriptor
        self._hash = state
        self._decoder: Decoder | None = None
        self.have: int = file.seek(0, os.SEEK_END)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, right or not."""
        return self.have >= self.descriptor.size

    @property
    def digest(self) -> str:
        """Of what has come so far."""
        return f"{self.descriptor.digest.partition(':')[0]}:{self._hash.hexdigest()}"

    def check_start(self, response: aiohttp.ClientResponse) -> None:
        """Start again where the registry sends the whole or another part than asked for."""
        self._decoder = self._decoding(response)
        if response.status == 206 and self._decoder is None:
            start = response.headers.get("Content-Range", "").removeprefix("bytes ")
            if start.partition("-")[0].strip() == str(self.have):
                return
            self.restart()
            raise Retryable(Unavailable("the registry sent another range than asked for"))
        if self.have:
            self.restart()
        if response.status == 206:  # a part of what was compressed: of no use
            raise Retryable(Unavailable("the registry sent a part of a compressed answer"))

    def _decoding(self, response: aiohttp.ClientResponse) -> Decoder | None:
        """Some label a compressed layer as an encoding of it: its length tells them apart."""
        if response.headers.get("Content-Length") == str(self.descriptor.size - self.have):
            return None
        return decoder(response.headers.get("Content-Encoding", ""))

    def restart(self) -> None:
        """Begin at its first byte again."""
        self._file.truncate(0)
        self.have = 0
        self._hash = hashlib.new(self.descriptor.digest.partition(":")[0])

    def write(self, piece: bytes) -> None:
        """The next bytes as they came. Raises InvalidSpec, OSError."""
        if self._decoder is None:
            self._write(piece)
            return
        for decoded in self._decoder.decode(piece):
            self._write(decoded)

    def _write(self, piece: bytes) -> None:
        if self.have + len(piece) > self.descriptor.size:
            raise InvalidSpec(
                f"layer {self.descriptor.short} is longer than its {self.descriptor.size} bytes"
            )
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]
        self._hash.update(piece)
        self.have += len(piece)


async def _gathered(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in larger pieces; what came before an error is given first."""
    gathered = bytearray()
    try:
        async for piece in pieces:
            gathered += piece
            if len(gathered) >= _WRITE:
                yield bytes(gathered)
                gathered.clear()
    except NETWORK_ERRORS:
        if gathered:
            yield bytes(gathered)
        raise
    if gathered:
        yield bytes(gathered)


def tags_of(data: bytes) -> list[str]:
    """The tags of a registry's list. Raises InvalidSpec where it is none."""
    try:
        tags = json.loads(data).get("tags") or []
        if not all(isinstance(tag, str) for tag in tags):
            raise ValueError("a tag is not a string")
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InvalidSpec("the registry's list of tags cannot be read") from error
    return [tag for tag in tags if is_tag(tag)]


def hash_so_far(target: Path, descriptor: Descriptor) -> Any:
    """The hash of what `target` holds already; a file that is too long is emptied."""
    state = hashlib.new(descriptor.digest.partition(":")[0])
    if target.stat().st_size > descriptor.size:
        os.truncate(target, 0)
    with target.open("rb") as file:
        while piece := file.read(_CHUNK):
            state.update(piece)
    return state
