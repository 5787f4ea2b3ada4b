"""The gRPC servers of a manager: the unix socket for root of this host, TCP with mTLS for all.

Both serve the same services; who may call what is auth's to say. The node's certificate is read
again at each handshake when its file has changed, so that a renewal needs no restart.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from swarmlite import rpc
from swarmlite.errors import AlreadyExists
from swarmlite.identity.certificates import Certificates
from swarmlite.identity.serving import server_credentials as serving_credentials

from .auth import Authorize
from .ca import anyone
from .lookagain import LooksAgain, LookUp
from .store.tables import Tables

Register = Callable[[Any], None]
"""Adds one service to a server: `lambda s: add_ControlServicer_to_server(service, s)`."""

STOP_GRACE_S = 2.0
AGENTS_OPTIONS: list[tuple[str, Any]] = [
    *rpc.SERVER_OPTIONS,
    # gRPC else sends a ping after each heartbeat, to learn how much a stream may have under way: a
    # seventh of what idle agents cost. So much is enough for a tunnel over a long line.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1 << 20),
]


def server_credentials(certificates_dir: Path) -> grpc.ServerCredentials:
    """mTLS, demanded of everyone; those without a certificate show the well-known one."""
    return serving_credentials(Certificates(certificates_dir), also=anyone.CERT)


def _server(
    register: Sequence[Register],
    view: Callable[[], Tables],
    look_up: LookUp | None,
    *,
    local: bool,
) -> Any:
    interceptors = [rpc.TranslateErrors(), Authorize(view, local=local)]
    if look_up is not None:
        interceptors.append(LooksAgain(look_up))
    server = grpc.aio.server(
        interceptors=interceptors,
        options=rpc.LOCAL_SERVER_OPTIONS if local else AGENTS_OPTIONS,
    )
    for add in register:
        add(server)
    return server


@asynccontextmanager
async def serving(
    register: Sequence[Register],
    view: Callable[[], Tables],
    *,
    socket_path: Path | None,
    listen_addr: str | None,
    certificates_dir: Path,
    look_up: LookUp | None = None,
) -> AsyncIterator[int]:
    """Serve until leaving; yields the TCP port. Raises AlreadyExists for a port that is taken.

    `look_up`: the store's, where other managers write to it too.
    """
    servers = []
    port = 0
    try:
        if listen_addr is not None:
            server = _server(register, view, look_up, local=False)
            try:
                port = server.add_secure_port(listen_addr, server_credentials(certificates_dir))
            except RuntimeError as error:
                raise AlreadyExists(f"cannot listen on {listen_addr}: {error}") from error
            await server.start()
            servers.append(server)
        if socket_path is not None:  # last: whoever waits for it finds the port as well
            server = _server(register, view, look_up, local=True)
            socket_path.unlink(missing_ok=True)
            mask = os.umask(0o177)
            try:
                server.add_insecure_port(f"unix:{socket_path}")
                await server.start()
            finally:
                os.umask(mask)
            servers.append(server)
        yield port
    finally:
        for server in servers:
            await server.stop(STOP_GRACE_S)
        if socket_path is not None:
            socket_path.unlink(missing_ok=True)
