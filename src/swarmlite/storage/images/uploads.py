"""Bringing blobs and manifests to a registry.

Source: OCI distribution-spec ("Pushing blobs", "Pushing manifests", "Mounting a blob").
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import aiohttp
from yarl import URL

from swarmlite.errors import FailedPrecondition, NotFound, SwarmliteError, Unavailable
from swarmlite.storage.images.flight import in_thread
from swarmlite.storage.images.manifest import Descriptor
from swarmlite.storage.images.registry import Repository
from swarmlite.storage.images.transport import Retryable

CHUNK_BYTES = 64 << 20
"""Of one request; proxies in front of registries refuse longer ones (100 MB is common)."""
ANSWER_S = 300.0
"""How long a registry may take for what it has: it reads the whole blob again for its digest."""
_SMALLEST_BYTES = 1 << 20
_PIECE = 256 << 10
_OCTETS = {"Content-Type": "application/octet-stream"}
_FOUND, _BEGUN = frozenset({200}), frozenset({201, 202})
_TOOK, _DONE = frozenset({201, 202, 204}), frozenset({201, 204})
_TOO_LARGE, _WRONG_RANGE = 413, 416
_CHUNK_STATUS = _TOOK | {_TOO_LARGE, _WRONG_RANGE}


T = TypeVar("T")


@dataclass
class _Session:
    """An upload under way: where it goes on, and how much the registry has."""

    location: URL
    have: int = 0


class Uploads:
    """Pushes into one repository, which was opened for pull and push."""

    def __init__(self, repository: Repository, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._repository = repository
        self._transport = repository.transport
        self._path = repository.reference.path
        self._chunk_bytes = chunk_bytes

    async def has(self, digest: str) -> bool:
        """Whether the repository has this blob."""
        path = f"{self._path}/blobs/{digest}"
        return await self._retried(lambda: self._head(path))

    async def has_manifest(self, digest: str) -> bool:
        """Whether the repository has this manifest."""
        return await self._retried(lambda: self._head(f"{self._path}/manifests/{digest}"))

    async def _head(self, path: str) -> bool:
        try:
            async with self._request("HEAD", path, expected=_FOUND):
                return True
        except NotFound:
            return False

    async def mount(self, digest: str, sources: Sequence[str]) -> str:
        """Let the registry take a blob from another repository; that one's path, or empty."""
        for source in sources:
            if await self._retried(partial(self._mount, digest, source)):
                return source
        return ""

    async def _mount(self, digest: str, source: str) -> bool:
        query = {"mount": digest, "from": source}
        scope = f"{self._repository.scope} repository:{source}:pull"
        url = (await self._uploads()).update_query(query)
        try:
            async with self._transport.request(
                "POST", url, scope=scope, headers={"Content-Length": "0"}, expected=_BEGUN
            ) as response:
                if response.status == 201:
                    return True
                location = self._location(response, url)
        except SwarmliteError:  # it may not be read, or mounts are not known: then it is sent
            return False
        await self._cancel(location)
        return False

    async def _cancel(self, location: URL) -> None:
        try:
            async with self._request("DELETE", location, expected=_TOOK | {200}):
                pass
        except (SwarmliteError, Retryable):
            pass  # it ends by itself

    async def send(
        self, descriptor: Descriptor, file: Path, progress: Callable[[int], None]
    ) -> None:
        """A blob, in chunks; goes on where it was after a failure. Raises SwarmliteError."""
        session: _Session | None = None
        attempt = 0
        while True:
            before = session.have if session else 0
            try:
                session = session or await self._begin()
                await self._rest(session, descriptor, file, progress)
                return
            except Retryable as failure:
                attempt = 0 if session and session.have > before else attempt
                await self._transport.pause(failure, attempt)
                attempt += 1
                session = await self._resumed(session)

    async def _begin(self) -> _Session:
        url = await self._uploads()
        async with self._request(
            "POST", url, headers={"Content-Length": "0"}, expected=_BEGUN
        ) as response:
            smallest = response.headers.get("OCI-Chunk-Min-Length", "")
            if smallest.isdecimal():
                self._chunk_bytes = max(self._chunk_bytes, int(smallest))
            return _Session(self._location(response, url))

    async def _rest(
        self,
        session: _Session,
        descriptor: Descriptor,
        file: Path,
        progress: Callable[[int], None],
    ) -> None:
        while descriptor.size - session.have > self._chunk_bytes:
            await self._chunk(session, descriptor, file, progress)
        start, length = session.have, descriptor.size - session.have
        url = session.location.update_query(digest=descriptor.digest)
        headers = {**_OCTETS, "Content-Length": str(length)}
        if start:
            headers["Content-Range"] = f"{start}-{descriptor.size - 1}"
        sending = _Sending(file, start, length, progress)
        async with self._request(
            "PUT", url, headers=headers, body=sending, expected=_DONE | {_TOO_LARGE}
        ) as response:
            status = response.status
        if status == _TOO_LARGE:
            self._shrink(length)
            raise Retryable(Unavailable("the registry wants smaller requests"), 0.0)
        progress(descriptor.size)

    async def _chunk(
        self,
        session: _Session,
        descriptor: Descriptor,
        file: Path,
        progress: Callable[[int], None],
    ) -> None:
        start, length = session.have, self._chunk_bytes
        headers = {**_OCTETS, "Content-Length": str(length)}
        headers["Content-Range"] = f"{start}-{start + length - 1}"
        sending = _Sending(file, start, length, progress)
        async with self._request(
            "PATCH", session.location, headers=headers, body=sending, expected=_CHUNK_STATUS
        ) as response:
            if response.status == _TOO_LARGE:
                self._shrink(length)
                raise Retryable(Unavailable("the registry wants smaller requests"), 0.0)
            if response.status == _WRONG_RANGE:
                raise Retryable(Unavailable("the registry has another part than was sent"))
            session.location = self._location(response, session.location)
            session.have = start + length

    def _shrink(self, length: int) -> None:
        if length <= _SMALLEST_BYTES:
            raise FailedPrecondition(
                f"registry {self._transport.host} refuses requests of {length} bytes as too large"
            )
        self._chunk_bytes = max(min(self._chunk_bytes, length) // 2, _SMALLEST_BYTES)

    async def _resumed(self, session: _Session | None) -> _Session | None:
        """The session as the registry knows it; None where a new one has to be begun."""
        if session is None:
            return None
        try:
            async with self._request("GET", session.location, expected=_TOOK) as response:
                last = response.headers.get("Range", "").rpartition("-")[2]
                have = int(last) + 1 if last.isdecimal() and last != "0" else 0
                return _Session(self._location(response, session.location), have)
        except (SwarmliteError, Retryable):
            return None

    async def manifest(self, target: str, data: bytes, media_type: str) -> None:
        """A manifest or index under a tag or its digest."""
        path = f"{self._path}/manifests/{target}"
        headers = {"Content-Type": media_type, "Content-Length": str(len(data))}

        async def put() -> None:
            async with self._request(
                "PUT",
                path,
                headers=headers,
                body=lambda: io.BytesIO(data),
                expected=_DONE | {200, 202},
            ):
                pass

        await self._retried(put)

    async def _uploads(self) -> URL:
        return (await self._transport.base()).join(URL(f"/v2/{self._path}/blobs/uploads/"))

    @staticmethod
    def _location(response: aiohttp.ClientResponse, asked: URL) -> URL:
        """Where an upload goes on: as the registry wrote it, relative or not."""
        text = response.headers.get("Location", "")
        if not text:
            raise FailedPrecondition("the registry begins an upload without saying where it is")
        return asked.join(URL(text, encoded=True))

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str | URL,
        *,
        headers: Mapping[str, str] | None = None,
        body: _Sending | Callable[[], io.BytesIO] | None = None,
        expected: frozenset[int],
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """`Transport.request`; a registry that takes nothing for a while is given up."""
        watched = body if isinstance(body, _Sending) else None
        try:
            async with asyncio.timeout(ANSWER_S) as deadline:
                if watched is not None:
                    watched.deadline, watched.stall_s = deadline, self._transport.stall_timeout_s
                async with self._transport.request(
                    method,
                    path,
                    scope=self._repository.scope,
                    headers=headers,
                    body=body,
                    expected=expected,
                    answer_s=ANSWER_S,
                ) as response:
                    yield response
        except TimeoutError as error:
            raise Retryable(
                Unavailable(f"registry {self._transport.host} does not take what is sent")
            ) from error

    async def _retried(self, work: Callable[[], Awaitable[T]]) -> T:
        attempt = 0
        while True:
            try:
                return await work()
            except Retryable as failure:
                await self._transport.pause(failure, attempt)
                attempt += 1


class _Sending:
    """A part of a file as the body of a request, made once more for each attempt."""

    def __init__(
        self, file: Path, start: int, length: int, progress: Callable[[int], None]
    ) -> None:
        self._file, self._start, self._length, self._progress = file, start, length, progress
        self.deadline: asyncio.Timeout | None = None
        self.stall_s = 0.0

    def __call__(self) -> AsyncIterator[bytes]:
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        position, end = self._start, self._start + self._length
        while position < end:
            self._wait(self.stall_s)
            piece = await in_thread(self._read, position, min(_PIECE, end - position))
            if not piece:
                raise FailedPrecondition(f"{self._file.name} is shorter than it should be")
            yield piece
            position += len(piece)
            self._progress(position)
        self._wait(ANSWER_S)

    def _read(self, position: int, size: int) -> bytes:
        """Opened each time: a request that fails leaves its body where it stands, unclosed."""
        with self._file.open("rb") as file:
            file.seek(position)
            return file.read(size)

    def _wait(self, seconds: float) -> None:
        if self.deadline is not None:
            self.deadline.reschedule(asyncio.get_running_loop().time() + seconds)
