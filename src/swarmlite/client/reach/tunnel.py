"""A tunnel to a service of a node, asked of whoever answers Docker's API there.

The request is HTTP's: `POST /swarmlite/SERVICE` with `Upgrade: tcp`; after the 101 the connection
is the service's. So one door, docker.sock and what listens beside it, is enough for a whole node,
and whoever may go through it is root there in any case.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from swarmlite.client.reach.api import Reach
from swarmlite.client.reach.local import unix
from swarmlite.errors import PermissionDenied, Unavailable

PREFIX = "/swarmlite/"
MAX_HEAD_BYTES = 16 * 1024
ANSWER_S = 30.0


def request(service: str) -> bytes:
    """What asks for a service."""
    lines = (f"POST {PREFIX}{service} HTTP/1.1", "Host: swarmlite", "Connection: Upgrade")
    return "\r\n".join((*lines, "Upgrade: tcp", "Content-Length: 0", "", "")).encode()


def enter(connection: socket.socket, service: str, where: str) -> None:
    """Ask for the service, and return when the connection is its. Raises as Reach.connect."""
    connection.sendall(request(service))
    head = _head(connection, where)
    status = head.split(b" ", 2)[1:2]
    if status == [b"101"]:
        return
    raise _refusal(int(status[0]) if status and status[0].isdigit() else 0, head, where)


def _head(connection: socket.socket, where: str) -> bytes:
    """The answer's head, not a byte more: what follows a 101 is the service's."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte or len(head) > MAX_HEAD_BYTES:
            raise Unavailable(f"{where}: no node of swarmlite answers there{_said(head)}")
        head += byte
    if head.startswith(b"HTTP/1.1 101"):
        return head
    connection.settimeout(5.0)
    try:
        return head + connection.recv(MAX_HEAD_BYTES)
    except OSError:
        return head


def _said(head: bytes) -> str:
    line = head.decode(errors="replace").strip().partition("\n")[0].strip()
    return f": {line[:200]}" if line else ""


def _refusal(status: int, answer: bytes, where: str) -> Exception:
    body = answer.partition(b"\r\n\r\n")[2]
    try:
        line = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        line = _said(answer).removeprefix(": ")
    if status == 503:
        return ConnectionRefusedError(f"{where}: {line}")
    if status == 403:
        return PermissionDenied(f"{where}: {line}")
    if status == 404:
        return Unavailable(f"{where}: its API has no /swarmlite: is it swarmlite's, and as new?")
    return Unavailable(f"{where}: {line}")


class Tunnel(Reach):
    """A node by its socket of Docker's API."""

    def __init__(self, path: Path) -> None:
        """Connects to nothing yet."""
        self._path = path

    def connect(self, service: str) -> socket.socket:
        """As Reach says."""
        try:
            made = unix(self._path)
        except PermissionError as error:
            raise PermissionDenied(
                f"permission denied on {self._path}: be root, or of the group swarmlite"
            ) from error
        except OSError as error:
            raise Unavailable(f"Cannot connect to {self._path}: {error.strerror}") from error
        made.settimeout(ANSWER_S)  # a process that starts answers by then, one that hangs never
        entered(made, service, str(self._path))
        made.settimeout(None)
        return made

    def describe(self, service: str) -> str:
        """The socket's path."""
        return str(self._path)


def entered(connection: socket.socket, service: str, where: str) -> socket.socket:
    """`connection`, once it is the service's; closed where it will not be."""
    try:
        enter(connection, service, where)
    except OSError as error:
        connection.close()
        if isinstance(error, ConnectionRefusedError):
            raise
        raise Unavailable(f"Cannot connect to {where}: {error.strerror or error}") from error
    except BaseException:
        connection.close()
        raise
    return connection
