"""Connections to what a container listens at, from inside of its network."""

from __future__ import annotations

import asyncio
import os
import socket

from swarmlite.engine.records import Record
from swarmlite.errors import FailedPrecondition, Unavailable
from swarmlite.network import netns

CONNECT_S = 10.0
LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def connect(record: Record, port: int) -> socket.socket:
    """To a TCP port of the container's own loopback; not blocking.

    Raises FailedPrecondition where it does not run, Unavailable where nothing listens.
    """
    failed: Exception | None = None
    for family, address in LOOPBACKS:
        try:
            made = await asyncio.to_thread(_socket, record, family)
        except OSError as error:  # a host without IPv6
            failed = failed or error
            continue
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().sock_connect(made, (address, port))
            return made
        except (OSError, TimeoutError) as error:
            made.close()
            failed = failed or error
        except BaseException:
            made.close()
            raise
    raise Unavailable(f"nothing answers at port {port} of {record.name}") from failed


def _socket(record: Record, family: int) -> socket.socket:
    """A socket of the container's network: it stays there, whoever uses it."""
    pid = record.state.pid
    if not record.active or not pid:
        raise FailedPrecondition(f"container {record.name} is not running")
    try:
        inside = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise FailedPrecondition(f"container {record.name} is not running") from error
    host = netns.open_own()
    try:
        if record.state.pid != pid:  # it ended, and the number may be another process's by now
            raise FailedPrecondition(f"container {record.name} is not running")
        with netns.inside(inside, host):
            made = socket.socket(family)
    finally:
        os.close(inside)
        os.close(host)
    made.setblocking(False)
    return made
