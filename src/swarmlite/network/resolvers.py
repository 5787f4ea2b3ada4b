"""The resolvers of all sandboxes: their sockets, which outlive this process, and who answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from swarmlite.network.api import BRIDGE
from swarmlite.network.dns.forward import SOCKETS, Forwarder, MakeSocket, host_resolvers
from swarmlite.network.dns.records import LocalPlace, Names, Zones
from swarmlite.network.dns.server import Questions, Resolver
from swarmlite.network.host_table import FORWARDER_MARK
from swarmlite.network.netns import Threads
from swarmlite.network.state import SandboxRecord
from swarmlite.network.view import View

RESOLVERS_TTL_S = 5.0


class FdStore(Protocol):
    """Holds descriptors while this process restarts; `runtime.client.Supervisor` is one."""

    async def keep_fds(self, name: str, fds: Sequence[int]) -> None:
        """Hold duplicates of `fds` under `name`, replacing what was there."""

    async def kept_fds(self, name: str) -> list[int]:
        """Duplicates of what is held, the caller's to close; empty when nothing is."""

    async def drop_fds(self, name: str) -> None:
        """Close what is held; nothing held is no error."""


class Resolvers:
    """One resolver a sandbox; one event loop's."""

    def __init__(self, threads: Threads, view: View, fds: FdStore) -> None:
        self._threads, self._fds = threads, fds
        self.zones = Zones(view)
        self.questions = Questions()
        self._resolvers: dict[str, Resolver] = {}
        self._names: dict[str, Names] = {}
        self._own: dict[str, Forwarder] = {}
        self._shared: Forwarder | None = None
        self._sharing = asyncio.Lock()
        self._hosts: list[str] = []
        self._hosts_until = 0.0

    async def keep(self, sandbox_id: str, sockets: tuple[socket.socket, socket.socket]) -> None:
        """Have the sockets held for the process after this one."""
        await self._fds.keep_fds(_name(sandbox_id), [s.fileno() for s in sockets])

    async def kept(self, sandbox_id: str) -> tuple[socket.socket, socket.socket] | None:
        """The sockets that an earlier process had held, if both are there."""
        fds = await self._fds.kept_fds(_name(sandbox_id))
        if len(fds) != 2:
            for fd in fds:
                os.close(fd)
            return None
        udp, tcp = (socket.socket(fileno=fd) for fd in fds)
        udp.setblocking(False)
        tcp.setblocking(False)
        return udp, tcp

    async def serve(
        self,
        record: SandboxRecord,
        sockets: tuple[socket.socket, socket.socket],
        namespace: int,
    ) -> None:
        """Answer on a sandbox's sockets from now on; they are owned from now on."""
        servers = list(record.dns_config().nameservers)
        if servers:
            # Resolvers that the user named are reached from inside, as they are for the user.
            made = await self._threads.run_inside(namespace, lambda: _udp(2))
            self._own[record.id] = Forwarder(made, self._maker(namespace), lambda: servers)
        elif not record.internal:
            await self._share()
        names = self._names[record.id] = Names(self.zones, record.networks())
        forwarder = self._forwarder(record)
        self._resolvers[record.id] = Resolver(*sockets, names, forwarder, self.questions)
        self.follow(record)

    def follow(self, record: SandboxRecord) -> None:
        """A sandbox's places changed: what it may ask for, and what it is found by."""
        places = {
            place.network_id: LocalPlace(
                place.network_name,
                record.names,
                place.aliases,
                tuple(address for address in (place.address, place.address6) if address),
            )
            for place in record.attachments
            if place.local and place.network_name != BRIDGE
        }
        changed = self.zones.local.set(record.id, places)
        if changed:
            self.zones.forget(changed)
        if record.id in self._names:
            links = [link for place in record.attachments for link in place.links]
            self._names[record.id].follow(record.networks(), links)

    async def _share(self) -> None:
        async with self._sharing:
            if self._shared is None:
                made = await self._threads.run(lambda: _udp(SOCKETS))
                self._shared = Forwarder(made, self._maker(self._threads.host), self._host_servers)

    def _forwarder(self, record: SandboxRecord) -> Callable[[], Forwarder | None]:
        # A sandbox of internal networks only has no way out, by names neither.
        return lambda: self._own.get(record.id) or (None if record.internal else self._shared)

    def _maker(self, namespace: int) -> MakeSocket:
        async def make(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
            def work() -> socket.socket:
                return _marked(family, kind)

            return await self._threads.run_inside(namespace, work)

        return make

    def _host_servers(self) -> list[str]:
        now = asyncio.get_running_loop().time()
        if now >= self._hosts_until:
            self._hosts, self._hosts_until = host_resolvers(), now + RESOLVERS_TTL_S
        return self._hosts

    async def drop(self, sandbox_id: str) -> None:
        """Stop answering, and have nothing held any more."""
        self._names.pop(sandbox_id, None)
        if changed := self.zones.local.set(sandbox_id, {}):
            self.zones.forget(changed)
        resolver = self._resolvers.pop(sandbox_id, None)
        if resolver is not None:
            resolver.close()
        forwarder = self._own.pop(sandbox_id, None)
        if forwarder is not None:
            forwarder.close()
        await self._fds.drop_fds(_name(sandbox_id))

    def close(self) -> None:
        """Stop answering; what is held elsewhere stays."""
        for resolver in self._resolvers.values():
            resolver.close()
        for forwarder in [*self._own.values(), *([self._shared] if self._shared else [])]:
            forwarder.close()
        self._resolvers.clear()
        self._own.clear()
        self._shared = None


def _name(sandbox_id: str) -> str:
    return f"dns/{sandbox_id}"


def _udp(count: int) -> list[socket.socket]:
    """So many sockets of each family that the namespace has."""
    made = []
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with contextlib.suppress(OSError):
            for _ in range(count):
                channel = _marked(family, socket.SOCK_DGRAM)
                made.append(channel)
                channel.bind((address, 0))
    return made


def _marked(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
    """A socket whose packets the published ports of its host leave alone."""
    channel = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, FORWARDER_MARK)
    return channel
