"""`swarm join` to an address that is no manager's: one line says so, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from swarmlite.errors import SwarmliteError
from swarmlite.manager.ca import tokens
from swarmlite.manager.ca.root import RootCA, Subject, new_request
from swarmlite.node.join import join
from swarmlite.paths import Paths

ROOT = RootCA.create()
Server = Callable[[Path], AbstractAsyncContextManager[int]]


async def _page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A web server's answer to what it does not understand."""
    with contextlib.suppress(ConnectionError):
        await reader.read(1000)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    writer.close()


@asynccontextmanager
async def plain(folder: Path) -> AsyncIterator[int]:
    async with await asyncio.start_server(_page, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def certified(folder: Path) -> tuple[Path, Path]:
    key, csr = new_request()
    certificate, private = folder / "crt", folder / "key"
    certificate.write_bytes(ROOT.issue(csr, Subject("other", "swarm-manager", "cluster")))
    private.write_bytes(key)
    return certificate, private


@asynccontextmanager
async def page(folder: Path) -> AsyncIterator[int]:
    """Of https."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certified(folder))
    async with await asyncio.start_server(_page, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def another_service(folder: Path) -> AsyncIterator[int]:
    """Of gRPC, by a certificate for another name, as an agent's port for images has it."""
    certificate, private = certified(folder)
    server = grpc.aio.server()
    pair = (private.read_bytes(), certificate.read_bytes())
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


@asynccontextmanager
async def nothing(folder: Path) -> AsyncIterator[int]:
    """A port that is kept from others, and that nobody listens at."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (plain, "is not a manager: it speaks no TLS there"),
        (page, "does not answer as a manager of a swarm does"),
        (another_service, "does not answer as a manager of a swarm does"),
        (nothing, "cannot reach 127.0.0.1:"),
    ],
)
async def test_an_address_that_is_no_managers_is_told_and_leaves_nothing(
    tmp_path: Path, server: Server, said: str
) -> None:
    paths = Paths(tmp_path / "state", tmp_path / "run")
    paths.state_dir.mkdir()
    token = tokens.new_token(tokens.digest(ROOT.cert))
    async with server(tmp_path) as port:
        request = {"token": token, "remote": f"127.0.0.1:{port}", "advertise_addr": "127.0.0.1"}
        with pytest.raises(SwarmliteError, match=said) as refused:
            await join(paths, request, lambda line: None)
    line = str(refused.value)
    assert f"127.0.0.1:{port}" in line and "\n" not in line and len(line) < 200, line
    assert not list(paths.state_dir.iterdir())
