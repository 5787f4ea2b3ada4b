"""Asking the host's resolvers about names that are not ours. Bounded in number and in time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmlite.network.dns import packet

MAX_PENDING = 1024
TIMEOUT_S = 2.0
TRIES = 2
SOCKETS = 8
PORT = 53
_LENGTH = struct.Struct(">H")

MakeSocket = Callable[[socket.AddressFamily, socket.SocketKind], Awaitable[socket.socket]]
"""A non-blocking socket in the namespace that the resolvers are reached from."""


@dataclass
class _Pending:
    question: packet.Question
    query: bytes
    reply: Callable[[bytes], None]
    server: str
    left: list[str]
    timer: asyncio.TimerHandle


def host_resolvers(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The nameservers of the host, IPv4 and IPv6, read again each time it is called."""
    servers = []
    with contextlib.suppress(OSError):
        for line in path.read_text(errors="replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                with contextlib.suppress(OSError):
                    plain(words[1])
                    servers.append(words[1])
    return servers


def plain(address: str) -> str:
    """An address in its one shortest form, without a scope. Raises OSError for what is none."""
    family = _family(address)
    return socket.inet_ntop(family, socket.inet_pton(family, address.partition("%")[0]))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def host_search(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The host's search list."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        for line in path.read_text(errors="replace").splitlines():
            words = line.split()
            if words and words[0] in ("search", "domain"):
                found = words[1:]
    return found


class Forwarder:
    """Sends questions to resolvers and hands each reply to who asked."""

    def __init__(
        self, sockets: Sequence[socket.socket], make: MakeSocket, resolvers: Callable[[], list[str]]
    ) -> None:
        """`sockets`: unconnected UDP, each on a random port, owned from now on; resolvers of a
        family that none of them has are passed over.
        """
        self._sockets, self._make, self._resolvers = list(sockets), make, resolvers
        self._pending: dict[tuple[int, int], _Pending] = {}
        self._loop = asyncio.get_running_loop()
        for number, channel in enumerate(self._sockets):
            self._loop.add_reader(channel, self._readable, number)

    def ask(self, query: bytes, question: packet.Question, reply: Callable[[bytes], None]) -> bool:
        """Pass a query on; False when too many are under way or nobody can be asked.

        `reply` is called once, with the resolver's answer under the client's id, or with a
        failure once all resolvers were silent.
        """
        servers = self._resolvers()
        if not servers or not self._sockets or len(self._pending) >= MAX_PENDING:
            return False
        return self._send(query, question, reply, servers * TRIES)

    def _send(
        self,
        query: bytes,
        question: packet.Question,
        reply: Callable[[bytes], None],
        servers: list[str],
    ) -> bool:
        """Ask the first of `servers` that can be sent to; whether there was one."""
        for count, server in enumerate(servers, 1):
            key = self._free_key(server)
            if key is None:
                continue
            data = _LENGTH.pack(key[1]) + query[2:]
            try:
                address = plain(server)  # of a name, `sendto` would ask a resolver
                self._sockets[key[0]].sendto(data, (server, PORT))
            except OSError:
                continue  # nobody to wait for: the next at once
            timer = self._loop.call_later(TIMEOUT_S, self._silent, key)
            left = servers[count:]
            self._pending[key] = _Pending(question, query, reply, address, left, timer)
            return True
        return False

    def _free_key(self, server: str) -> tuple[int, int] | None:
        """A fresh id and a random one of our ports: what a forger would have to guess."""
        family = _family(server)
        slots = [n for n, channel in enumerate(self._sockets) if channel.family == family]
        if not slots:
            return None
        slot, number = secrets.choice(slots), secrets.randbits(16)
        while (slot, number) in self._pending:
            number = secrets.randbits(16)
        return slot, number

    def _silent(self, key: tuple[int, int]) -> None:
        pending = self._pending.pop(key)
        if not self._send(pending.query, pending.question, pending.reply, pending.left):
            pending.reply(packet.answer(pending.question, [], code=packet.SERVER_FAILURE))

    def _readable(self, slot: int) -> None:
        for _ in range(64):
            try:
                data, (server, port, *_) = self._sockets[slot].recvfrom(65535)
            except OSError:
                return
            if len(data) < 12 or port != PORT:
                continue
            key = (slot, _LENGTH.unpack_from(data)[0])
            pending = self._pending.get(key)
            if pending is None or pending.server != plain(server):
                continue
            if not packet.same_question(data, pending.question):
                continue
            del self._pending[key]
            pending.timer.cancel()
            pending.reply(_LENGTH.pack(pending.question.id) + data[2:])

    async def ask_tcp(self, query: bytes) -> bytes | None:
        """Pass a query on by TCP; None when no resolver answers."""
        for server in self._resolvers():
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(TIMEOUT_S):
                    return await self._ask_tcp(query, server)
        return None

    async def _ask_tcp(self, query: bytes, server: str) -> bytes:
        channel = await self._make(_family(server), socket.SOCK_STREAM)
        try:
            await self._loop.sock_connect(channel, (server, PORT))
        except BaseException:
            channel.close()
            raise
        reader, writer = await asyncio.open_connection(sock=channel)
        try:
            writer.write(_LENGTH.pack(len(query)) + query)
            length = _LENGTH.unpack(await reader.readexactly(2))[0]
            return await reader.readexactly(length)
        finally:
            writer.close()

    def close(self) -> None:
        """Drop what is pending and the sockets."""
        for channel in self._sockets:
            self._loop.remove_reader(channel)
            channel.close()
        for pending in self._pending.values():
            pending.timer.cancel()
        self._pending.clear()
        self._sockets = []
