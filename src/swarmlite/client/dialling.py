"""Standard input and output joined to this host's node: what ssh runs on the far side.

It leads to Docker's API, or, for swarmlite's own command line, to the socket that its first request
names (see reach.tunnel). Each connection by ssh is a process of it, so it loads little.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from pathlib import Path

from swarmlite.client.reach import tunnel
from swarmlite.client.reach.api import SERVICES
from swarmlite.client.reach.local import Local, unix
from swarmlite.errors import PermissionDenied, Unavailable
from swarmlite.paths import Paths

CHUNK_BYTES = 64 * 1024
_UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


def dial(paths: Paths) -> None:
    """Until the node's side ends. Raises Unavailable, PermissionDenied."""
    asked = _asked()
    connection = _service(paths, asked) or _docker(paths, asked)
    if connection is None:
        return
    with connection:
        upwards = threading.Thread(target=_upwards, args=(connection,), daemon=True)
        upwards.start()
        while data := connection.recv(CHUNK_BYTES):
            _write(data)


def _asked() -> bytes:
    """What comes first: as much as tells whether a tunnel is asked for, and then its request."""
    wanted = f"POST {tunnel.PREFIX}".encode()
    data = os.read(sys.stdin.fileno(), CHUNK_BYTES)
    while _may_be(data, wanted) and b"\r\n\r\n" not in data and len(data) < tunnel.MAX_HEAD_BYTES:
        more = os.read(sys.stdin.fileno(), CHUNK_BYTES)
        if not more:
            break
        data += more
    return data


def _may_be(data: bytes, wanted: bytes) -> bool:
    return bool(data) and data[: len(wanted)] == wanted[: len(data)]


def _service(paths: Paths, asked: bytes) -> socket.socket | None:
    """The service that a request for a tunnel names; None for any other, and where only the API
    process may go there.
    """
    head, _, rest = asked.partition(b"\r\n\r\n")
    name = head.partition(b" HTTP/1.1")[0].decode(errors="replace")
    service = name.removeprefix(f"POST {tunnel.PREFIX}")
    if service not in SERVICES or service == name:
        return None
    try:
        connection = Local(paths).connect(service)
    except OSError:
        return None
    _write(_UPGRADED)
    if rest:
        connection.sendall(rest)
    return connection


def _docker(paths: Paths, asked: bytes) -> socket.socket | None:
    """Docker's API, which has been sent what came. None where its absence was answered."""
    try:
        connection = _connect(paths.docker_socket)
    except Unavailable as error:
        if not asked.startswith(f"POST {tunnel.PREFIX}".encode()):
            raise
        _write(_refusal(str(error)))
        return None
    connection.sendall(asked)
    return connection


def _refusal(line: str) -> bytes:
    body = json.dumps({"message": line}).encode()
    head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _connect(path: Path) -> socket.socket:
    try:
        return unix(path)
    except PermissionError as error:
        raise PermissionDenied(
            f"permission denied on {path}: be root, or of the group swarmlite"
        ) from error
    except OSError as error:
        raise Unavailable(f"Cannot connect to {path}. Is swarmlited running?") from error


def _upwards(connection: socket.socket) -> None:
    """What is typed, and its end: the answer goes on after it."""
    with contextlib.suppress(OSError):
        while data := os.read(sys.stdin.fileno(), CHUNK_BYTES):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]
