"""Asking the host's resolvers about names that are not ours. Bounded in number and in time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swarmlite.network.dns import packet

MAX_PENDING = 1024
TIMEOUT_S = 2.0
TRIES = 2
HEAD_START_S = 0.1
"""All resolvers are asked at once, but one that the host names later counts only once those before
it had so long: they may know names that it does not. A silent one has it once, then never again
until it answers."""
SOCKETS = 8
PORT = 53
_LENGTH = struct.Struct(">H")

MakeSocket = Callable[[socket.AddressFamily, socket.SocketKind], Awaitable[socket.socket]]
"""A non-blocking socket in the namespace that the resolvers are reached from."""


@dataclass
class _Asked:
    """One question under way at several resolvers."""

    question: packet.Question
    query: bytes
    reply: Callable[[bytes], None]
    servers: list[str]
    """In the host's order: those before have the say over those behind them."""
    tries: int = TRIES
    waiting: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Place in `servers` to what its answer is known by."""
    best: tuple[int, bytes] | None = None
    """The answer of the foremost that had one."""
    failure: bytes = b""
    head_start: bool = True
    """Whether those behind still wait for those before."""
    timer: asyncio.TimerHandle | None = None

    def settled(self, silent: Collection[str]) -> bytes | None:
        """The answer that counts now, if one does."""
        if self.best is not None:
            before = [n for n in self.waiting if n < self.best[0]]
            if self.head_start and any(self.servers[n] not in silent for n in before):
                return None
            return self.best[1]
        return self.failure if self.failure and not self.waiting else None


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
        self._pending: dict[tuple[int, int], tuple[_Asked, int]] = {}
        """What an answer is known by to its question, and whose it is."""
        self._silent: set[str] = set()
        """Resolvers that answered too late the last time: nobody waits for them."""
        self._loop = asyncio.get_running_loop()
        for number, channel in enumerate(self._sockets):
            self._loop.add_reader(channel, self._readable, number)

    def ask(self, query: bytes, question: packet.Question, reply: Callable[[bytes], None]) -> bool:
        """Pass a query on; False when too many are under way or nobody can be asked.

        `reply` is called once, with the resolver's answer under the client's id, or with a
        failure once all resolvers were silent.
        """
        servers = list(dict.fromkeys(self._resolvers()))
        if not servers or not self._sockets or len(self._pending) >= MAX_PENDING:
            return False
        return self._send(_Asked(question, query, reply, servers))

    def _send(self, asked: _Asked) -> bool:
        """Ask all resolvers that can be sent to; whether there was one."""
        for place, server in enumerate(asked.servers):
            key = self._free_key(server)
            if key is None:
                continue
            data = _LENGTH.pack(key[1]) + asked.query[2:]
            try:
                plain(server)  # of a name, `sendto` would ask a resolver
                self._sockets[key[0]].sendto(data, (server, PORT))
            except OSError:
                continue  # nobody to wait for
            asked.waiting[place] = key
            self._pending[key] = asked, place
        if not asked.waiting:
            return False
        asked.tries -= 1
        asked.timer = self._loop.call_later(HEAD_START_S, self._no_head_start, asked)
        return True

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

    def _no_head_start(self, asked: _Asked) -> None:
        asked.head_start = False
        asked.timer = self._loop.call_later(TIMEOUT_S - HEAD_START_S, self._too_late, asked)
        self._settle(asked)

    def _too_late(self, asked: _Asked) -> None:
        self._forget(asked)
        if asked.tries > 0 and not asked.failure and self._send(asked):
            return
        asked.reply(asked.failure or packet.answer(asked.question, [], code=packet.SERVER_FAILURE))

    def _settle(self, asked: _Asked) -> None:
        """Answer, if what has come so far says what the answer is."""
        answer = asked.settled(self._silent)
        if answer is None:
            return
        if asked.best is not None and not asked.head_start:
            self._silent.update(asked.servers[n] for n in asked.waiting if n < asked.best[0])
        self._forget(asked)
        asked.reply(answer)

    def _forget(self, asked: _Asked) -> None:
        """Nobody's answer is waited for any more."""
        for key in asked.waiting.values():
            self._pending.pop(key, None)
        asked.waiting.clear()
        if asked.timer is not None:
            asked.timer.cancel()

    def _readable(self, slot: int) -> None:
        for _ in range(64):
            try:
                data, (server, port, *_) = self._sockets[slot].recvfrom(65535)
            except OSError:
                return
            if len(data) < 12 or port != PORT:
                continue
            key = (slot, _LENGTH.unpack_from(data)[0])
            found = self._pending.get(key)
            if found is None:
                continue
            asked, place = found
            if plain(asked.servers[place]) != plain(server):
                continue
            if packet.same_question(data, asked.question):
                self._answered(asked, place, _LENGTH.pack(asked.question.id) + data[2:])

    def _answered(self, asked: _Asked, place: int, answer: bytes) -> None:
        del self._pending[asked.waiting.pop(place)]
        self._silent.discard(asked.servers[place])
        if answer[3] & 0xF not in (packet.NO_ERROR, packet.NAME_ERROR):
            asked.failure = asked.failure or answer
        elif asked.best is None or place < asked.best[0]:
            asked.best = place, answer
        self._settle(asked)

    async def ask_tcp(self, query: bytes) -> bytes | None:
        """Pass a query on by TCP, to all at once; None when no resolver answers."""
        servers = dict.fromkeys(self._resolvers())
        tasks = [asyncio.ensure_future(self._ask_tcp(query, server)) for server in servers]
        try:
            for task in asyncio.as_completed(tasks, timeout=TIMEOUT_S):
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    return await task
        except TimeoutError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
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
        for asked, _ in list(self._pending.values()):
            self._forget(asked)
        self._pending.clear()
        self._sockets = []
