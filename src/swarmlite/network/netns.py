"""Network namespaces: making them, pinning them to files, and threads that enter them.

A network namespace belongs to a thread, so the event loop's own thread never enters another one:
`Threads` does, and each of its threads is back in the host's namespace between two pieces of work.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from swarmlite.kernel import mounting, namespaces

_OWN = "/proc/thread-self/ns/net"

T = TypeVar("T")


def open_own() -> int:
    """A descriptor of the calling thread's network namespace."""
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


def enter(namespace: int) -> None:
    """Move the calling thread into the namespace of a descriptor. Raises OSError."""
    namespaces.setns(namespace, namespaces.CLONE_NEWNET)


def pin(namespace: int, path: Path) -> None:
    """Bind a namespace to `path`, an empty file that is made. Raises OSError, FileExistsError."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o400))
    source = f"/proc/self/fd/{namespace}".encode()
    try:
        mounting.mount(source, os.fsencode(path), None, mounting.MS_BIND)
    except OSError:
        path.unlink()
        raise


def unpin(path: Path) -> None:
    """Undo `pin`; safe to repeat. The namespace goes with the last that uses it."""
    with contextlib.suppress(OSError):
        while path.exists():
            mounting.umount(os.fsencode(path), mounting.MNT_DETACH)
    path.unlink(missing_ok=True)


def is_pinned(path: Path) -> bool:
    """Whether `path` holds a namespace and not just the empty file that a reboot leaves."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except OSError:
        return False


def create(host: int) -> int:
    """A new namespace's descriptor; the calling thread is left in `host`. Raises OSError."""
    with created(host) as namespace:
        return namespace


@contextlib.contextmanager
def created(host: int) -> Iterator[int]:
    """The calling thread in a new namespace, whose descriptor stays, and in `host` at the end."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    try:
        yield open_own()
    finally:
        enter(host)


@contextlib.contextmanager
def inside(namespace: int, host: int) -> Iterator[None]:
    """The calling thread in `namespace`, and in `host` again at the end."""
    enter(namespace)
    try:
        yield
    finally:
        enter(host)


def write_sysctl(name: str, value: str) -> bool:
    """Set `net/...` of the calling thread's namespace; False where the kernel has no such name."""
    try:
        Path(f"/proc/sys/net/{name}").write_text(value)
    except FileNotFoundError:
        return False
    return True


def read_sysctl(name: str) -> str:
    """The value of `net/...` in the calling thread's namespace; empty where there is no such."""
    try:
        return Path(f"/proc/sys/net/{name}").read_text().strip()
    except FileNotFoundError:
        return ""


class Threads:
    """A few threads for synchronous kernel work, at home in the host's network namespace."""

    def __init__(self, host_netns: Path | None, workers: int = 3) -> None:
        """`host_netns`: None for the namespace of the calling thread. Raises OSError."""
        source = host_netns or Path(_OWN)
        self.host = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        self._pool = ThreadPoolExecutor(
            workers, thread_name_prefix="network", initializer=enter, initargs=(self.host,)
        )

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` on a thread in the host's namespace.

        Cancelled: the work goes on to its end, the caller does not learn how it ended; what must
        be undone then is shielded by the caller.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def run_inside(self, namespace: int, work: Callable[[], T]) -> T:
        """Do `work` on a thread that has entered `namespace`."""

        def entered() -> T:
            with inside(namespace, self.host):
                return work()

        return await self.run(entered)

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        self._pool.shutdown(wait=True)
        os.close(self.host)


@functools.cache
def has_ipv6() -> bool:
    """Whether this kernel knows of IPv6 at all."""
    return Path("/proc/net/if_inet6").exists()
