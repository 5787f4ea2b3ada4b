"""`swarmlite system dial-stdio`: standard input and output to the node's socket of Docker's API.

What `ssh HOST docker system dial-stdio` runs there, for contexts of the form ssh://HOST.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import PermissionDenied, Unavailable
from swarmlite.paths import Paths

CHUNK_BYTES = 64 * 1024


@click.command("dial-stdio", cls=Command)
@pass_session
def command(session: Session, /) -> None:
    """Proxy standard input and output to Docker's API of this host."""
    connection = _connect(session.paths)
    with connection:
        upwards = threading.Thread(target=_upwards, args=(connection,), daemon=True)
        upwards.start()
        output = sys.stdout.fileno()
        while data := connection.recv(CHUNK_BYTES):
            while data:
                data = data[os.write(output, data) :]


def _connect(paths: Paths) -> socket.socket:
    path = paths.docker_socket
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except PermissionError as error:
        connection.close()
        raise PermissionDenied(
            f"permission denied on {path}: be root, or of the group swarmlite"
        ) from error
    except OSError as error:
        connection.close()
        raise Unavailable(f"Cannot connect to {path}. Is swarmlited running?") from error
    return connection


def _upwards(connection: socket.socket) -> None:
    """What is typed, and its end: the answer goes on after it."""
    with contextlib.suppress(OSError):
        while data := os.read(sys.stdin.fileno(), CHUNK_BYTES):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
