"""What a client sends of a build: its options, contexts, and what its ssh agents say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from swarmlite.build.arrived import Context
from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.proto import build_pb2 as pb
from swarmlite.storage.images.layers import os_error

MAIN = ""
"""The name of the context that COPY takes from without --from."""
IN_MEMORY_BYTES = 2 << 20
"""Of all contexts of a build: what goes beyond is on the disk as it comes."""


class Incoming:
    """The messages of one call; `run` takes them in until the client is done or gone."""

    def __init__(
        self, messages: AsyncIterator[pb.BuildRequest], folder: Path, max_bytes: int
    ) -> None:
        """Contexts are kept in `folder`, as they come, and short ones in memory."""
        self._messages, self._folder, self._max_bytes = messages, folder, max_bytes
        self._ends: dict[str, asyncio.Future[Context]] = {}
        self._contexts: dict[str, Context] = {}
        self._bytes = 0
        self._failure: Exception | None = None
        self.ssh: Callable[[pb.SshData], Awaitable[None]] | None = None

    async def options(self) -> pb.BuildOptions:
        """The first message. Raises InvalidSpec."""
        first = await anext(self._messages, None)
        if first is None or first.WhichOneof("message") != "options":
            raise InvalidSpec("the first message of a build says its options")
        return first.options

    async def context(self, name: str = MAIN) -> Context:
        """One, once it is whole; empty where nothing came."""
        return await asyncio.shield(self._end(name))

    def _end(self, name: str) -> asyncio.Future[Context]:
        if name not in self._ends:
            future = self._ends[name] = asyncio.get_running_loop().create_future()
            if self._failure is not None:  # nothing comes any more
                future.set_exception(self._failure)
                future.exception()
        return self._ends[name]

    async def run(self) -> None:
        """Take in what comes. A stream that ends early fails who waits for a context."""
        try:
            async for message in self._messages:
                await self._take(message)
            self._fail(InvalidSpec("the build context ended before it was whole"))
        except OSError as error:
            self._fail(os_error(error, self._folder.parent))
        except Exception as error:
            self._fail(error)
            raise

    def _fail(self, error: Exception) -> None:
        self._failure = error
        for name in (MAIN, *self._ends):
            future = self._end(name)
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen, also where nobody waits for it

    async def _take(self, message: pb.BuildRequest) -> None:
        kind = message.WhichOneof("message")
        if kind == "context":
            await self._add(MAIN, message.context)
        elif kind == "context_end":
            self._finish(MAIN)
        elif kind == "named":
            await self._add(message.named.name, message.named.data)
            if message.named.end:
                self._finish(message.named.name)
        elif kind == "ssh" and self.ssh is not None:
            await self.ssh(message.ssh)

    async def _add(self, name: str, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            raise ResourceExhausted(f"the build context is longer than {self._max_bytes} bytes")
        if self._end(name).done():
            raise InvalidSpec("a build context goes on after its end")
        await self._context(name).add(data, keep=self._bytes <= IN_MEMORY_BYTES)

    def _context(self, name: str) -> Context:
        if name not in self._contexts:
            path = self._folder / f"context-{len(self._contexts)}"
            self._contexts[name] = Context(path)
        return self._contexts[name]

    def _finish(self, name: str) -> None:
        future = self._end(name)
        if not future.done():
            future.set_result(self._context(name))


@contextlib.asynccontextmanager
async def taken_in(incoming: Incoming) -> AsyncIterator[None]:
    """`run` meanwhile."""
    task = asyncio.create_task(incoming.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(BaseException):
            await task
