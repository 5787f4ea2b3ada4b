"""The process: listens on descriptors that it was started with, or on a socket of its own.

Descriptors are named by flags, or come as systemd gives them (sd_listen_fds(3)): from 3 on. It ends
when nobody has been connected for a while, since whoever holds the sockets starts it again; also
on SIGTERM and SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from aiohttp import web

from swarmlite import logs
from swarmlite.client import membership
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.gateway.app import Gateway
from swarmlite.gateway.backends import Backends
from swarmlite.gateway.settings import Settings, parse

log = logging.getLogger(__name__)
FIRST_FD = 3
BACKLOG = 1024
LOOK_S = 0.5
END_S = 1.0


async def serve(settings: Settings, sockets: list[socket.socket]) -> None:
    """Until nobody is connected any more, or a signal."""
    backends = Backends(settings.paths)
    gateway = Gateway(settings, backends)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ending = contextlib.ExitStack()
    try:
        for each in sockets:
            listener = await loop.create_server(gateway.server, sock=each, backlog=BACKLOG)
            ending.callback(listener.close)
        if settings.tls_fds:
            # Loaded here, since it takes ssl, which a node without TCP never does.
            from swarmlite.gateway.streams.terminator import Terminators

            terminators = Terminators(gateway.server, settings.tls)
            ending.callback(terminators.close)
            for descriptor in settings.tls_fds:
                await terminators.listen(_inherited(descriptor))
        log.info("ready sockets=%d tls=%d", len(sockets), len(settings.tls_fds))
        await _until_idle(gateway.server, stop, settings.idle_s)
    finally:
        ending.close()
        await asyncio.sleep(0)  # who was accepted already begins to be answered
        gateway.server.pre_shutdown()
        await gateway.server.shutdown(END_S)
        await backends.close()


async def _until_idle(server: web.Server, stop: asyncio.Event, idle_s: float) -> None:
    loop = asyncio.get_running_loop()
    used = loop.time()
    while not stop.is_set():
        if server.connections:
            used = loop.time()
        elif idle_s and loop.time() - used > idle_s:
            log.info("idle: ends")
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_S)


def listening(settings: Settings) -> list[socket.socket]:
    """The sockets to answer on, without TLS. Raises InvalidSpec without any."""
    if settings.socket is not None:
        return [_own(settings.socket)]
    if settings.listen_fds or settings.tls_fds:
        return [_inherited(number) for number in settings.listen_fds]
    count = int(os.environ.get("LISTEN_FDS", "0"))
    meant = os.environ.get("LISTEN_PID", str(os.getpid())) == str(os.getpid())
    if not count or not meant:
        raise InvalidSpec("no sockets: give --socket PATH, or descriptors as systemd does")
    return [_inherited(number) for number in range(FIRST_FD, FIRST_FD + count)]


def _inherited(number: int) -> socket.socket:
    try:
        os.set_inheritable(number, False)
        return socket.socket(fileno=number)
    except OSError as error:
        raise InvalidSpec(f"descriptor {number} is not a socket: {error.strerror}") from error


def _own(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o117)
    try:
        made.bind(str(path))
    finally:
        os.umask(mask)
    return made


def main() -> int:
    """The command."""
    logs.begin()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        settings = parse()
        logs.node_id = membership.self_node_id(settings.paths)
        asyncio.run(serve(settings, listening(settings)))
    except SwarmliteError as error:
        print(f"swarmlite-gateway: {error}", file=sys.stderr)
        return 1
    return 0
