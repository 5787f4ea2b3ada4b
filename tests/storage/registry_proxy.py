"""A small server in front of a real registry, which answers for it where a test wants it to."""

import asyncio
import contextlib
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

Fault = Callable[[web.Request, int], Awaitable[web.StreamResponse | None]]
ASKED = ("Accept", "Range", "Content-Type", "Content-Range")
TOLD = ("Content-Type", "Docker-Content-Digest", "Content-Range", "Range", "Location")


async def nothing(_request: web.Request, _count: int) -> web.StreamResponse | None:
    """No fault: the registry answers."""
    return None


class Proxy:
    """In front of a real registry; `fault` may answer a request in its place.

    It is told how often the path was asked for.
    """

    def __init__(self, upstream: str, fault: Fault = nothing) -> None:
        self._upstream = upstream
        self._fault = fault
        self.requests: list[web.Request] = []
        self.address = ""

    @property
    def port(self) -> str:
        return self.address.rpartition(":")[2]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        blobs = [r for r in self.requests if r.path == request.path]
        if (answer := await self._fault(request, len(blobs))) is not None:
            return answer
        return await self.forward(request, await request.read())

    async def forward(self, request: web.Request, sent: bytes) -> web.Response:
        """What the registry says."""
        wanted = {k: v for k, v in request.headers.items() if k in ASKED}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                self._upstream + request.path_qs,
                headers=wanted,
                data=io.BytesIO(sent) if sent else None,
                allow_redirects=False,
            ) as response,
        ):
            headers = {k: v for k, v in response.headers.items() if k in TOLD}
            # where it goes on is here, as it would be with a proxy of somebody's
            if "Location" in headers:
                headers["Location"] = headers["Location"].removeprefix(self._upstream)
            return web.Response(status=response.status, headers=headers, body=await response.read())

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Proxy"]:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.address = f"{host}:{port}"
        try:
            yield self
        finally:
            await runner.cleanup()


async def send_part(request: web.Request, body: bytes, sent: int) -> web.StreamResponse:
    """Promise a body and cut the connection in the middle of it."""
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[:sent])
    assert request.transport is not None
    request.transport.close()
    return response


async def fetch(url: str) -> bytes:
    async with aiohttp.ClientSession(auto_decompress=False) as session, session.get(url) as got:
        return await got.read()


class HttpProxy:
    """A forward proxy as companies have them: CONNECT, and absolute URIs, all led to one server."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.rpartition(":")
        self.asked: list[str] = []
        self.address = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["HttpProxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first = head.decode().split("\r\n")[0]
        self.asked.append(first)
        up_reader, up_writer = await asyncio.open_connection(self._host, int(self._port))
        if first.startswith("CONNECT "):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            up_writer.write(head)
        await asyncio.gather(
            self._copy(reader, up_writer), self._copy(up_reader, writer), return_exceptions=True
        )

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()
