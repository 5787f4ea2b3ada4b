"""What processes of one machine must not choose twice: a LAN's subnet, a port to listen on.

Runs of tests go on beside each other, so that what is free when one looks may be another's by the
time it is taken. Kept by flock(2) on files in the folder for temporary ones: the kernel gives back
what a process held, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TIMEOUT_S = 60.0
PORTS = range(20000, 30000)
"""Below what the kernel gives to connections, so that none of them takes one meanwhile."""
_held: dict[int, int] = {}


@contextlib.contextmanager
def choosing(what: str) -> Iterator[None]:
    """Only one process at a time, and one thread, chooses and takes a `what`.

    Raises RuntimeError when another one is at it for a minute.
    """
    descriptor = _open(what)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                raise RuntimeError(f"another process has been choosing a {what} for a minute")
            time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def port(host: str = "127.0.0.1") -> int:
    """A TCP port of an address that nobody listens on; this process's until `release` or its end.

    Raises RuntimeError where none is free, OSError where the address is not this machine's.
    """
    for number in random.sample(PORTS, len(PORTS)):
        descriptor = _open(f"port-{number}")
        if _lock(descriptor) and _is_free(host, number):
            _held[number] = descriptor
            return number
        os.close(descriptor)
    raise RuntimeError(f"no free port from {PORTS.start} to {PORTS.stop - 1} on {host}")


def release(number: int) -> None:
    """Give a port back; safe for one that is not held."""
    descriptor = _held.pop(number, None)
    if descriptor is not None:
        os.close(descriptor)


def _open(name: str) -> int:
    folder = Path(tempfile.gettempdir(), f"swarmlite-reserved-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    return os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(host: str, number: int) -> bool:
    with socket.socket() as probe:
        # What lingers from closed connections does not count, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True
