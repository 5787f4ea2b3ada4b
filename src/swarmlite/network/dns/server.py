"""Answers on a sandbox's 127.0.0.11:53, UDP and TCP, on this process's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import struct
from collections.abc import Callable

from swarmlite.network.dns import packet
from swarmlite.network.dns.forward import Forwarder
from swarmlite.network.dns.records import Names

log = logging.getLogger(__name__)
MAX_FORWARDS = 100
MAX_CONNECTIONS = 32
BURST = 64
"""Datagrams answered at once, before other sandboxes have their turn."""
TCP_TIMEOUT_S = 10.0
_LENGTH = struct.Struct(">H")


class Questions:
    """Questions of all sandboxes, in this process's life: a count each, by who answered."""

    __slots__ = ("forwarded", "own", "refused")

    def __init__(self) -> None:
        """None yet."""
        self.own = self.forwarded = self.refused = 0


class Resolver:
    """One sandbox's resolver."""

    def __init__(
        self,
        udp: socket.socket,
        tcp: socket.socket,
        names: Names,
        forwarder: Callable[[], Forwarder | None],
        questions: Questions | None = None,
    ) -> None:
        """Serve at once; the sockets are owned from now on. `forwarder`: None for internal ones."""
        self._udp, self._tcp, self._names, self._forwarder = udp, tcp, names, forwarder
        self._loop = asyncio.get_running_loop()
        self._forwards = 0
        self._questions = questions or Questions()
        self._connections: set[asyncio.Task[None]] = set()
        # By number: an object that the loop does not know yet is spelled out for an error inside.
        self._loop.add_reader(udp.fileno(), self._readable)
        self._loop.add_reader(tcp.fileno(), self._connectable)

    def close(self) -> None:
        """Stop; duplicates of the sockets that others hold keep what arrives."""
        if self._udp.fileno() < 0:
            return
        self._loop.remove_reader(self._udp.fileno())
        self._loop.remove_reader(self._tcp.fileno())
        for task in self._connections:
            task.cancel()
        self._udp.close()
        self._tcp.close()

    # UDP
    def _readable(self) -> None:
        receive, send = self._udp.recvfrom, self._udp.sendto
        for _ in range(BURST):
            try:
                data, client = receive(packet.MAX_UDP)
            except OSError:
                return
            reply = self._answer(data, client)
            if reply is not None:
                # A full buffer loses the answer, as the network would: the client asks again.
                with contextlib.suppress(OSError):
                    send(reply, client)

    def _answer(self, data: bytes, client: tuple[str, int]) -> bytes | None:
        if (known := self._names.answer(data)) is not None:
            self._questions.own += 1
            return known
        try:
            question = packet.parse(data)
        except packet.Malformed:
            return None
        if question.opcode:
            return packet.answer(question, [], code=packet.NOT_IMPLEMENTED)
        records = self._names.find(question.name, question.type)
        if records is not None:
            self._questions.own += 1
            self._names.keep(data, records, functools.partial(packet.fit, question))
            return packet.fit(question, records)
        return self._forward(data, question, client)

    def _forward(
        self, data: bytes, question: packet.Question, client: tuple[str, int]
    ) -> bytes | None:
        def reply(answer: bytes) -> None:
            self._forwards -= 1
            if self._udp.fileno() >= 0:
                with contextlib.suppress(OSError):
                    self._udp.sendto(answer, client)

        forwarder = self._forwarder()
        if forwarder is None or self._forwards >= MAX_FORWARDS:
            self._questions.refused += 1
            return packet.answer(question, [], code=packet.SERVER_FAILURE)
        self._forwards += 1
        if forwarder.ask(data, question, reply):
            self._questions.forwarded += 1
            return None
        self._forwards -= 1
        self._questions.refused += 1
        return packet.answer(question, [], code=packet.SERVER_FAILURE)

    # TCP
    def _connectable(self) -> None:
        try:
            channel, _ = self._tcp.accept()
        except OSError:
            return
        channel.setblocking(False)
        if len(self._connections) >= MAX_CONNECTIONS:
            channel.close()
            return
        task = self._loop.create_task(self._serve(channel))
        self._connections.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a question by TCP failed", exc_info=error)

    async def _serve(self, channel: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=channel)
        try:
            while True:
                async with asyncio.timeout(TCP_TIMEOUT_S):
                    length = _LENGTH.unpack(await reader.readexactly(2))[0]
                    query = await reader.readexactly(length)
                reply = await self._answer_tcp(query)
                if reply is None:
                    return
                writer.write(_LENGTH.pack(len(reply)) + reply)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _answer_tcp(self, query: bytes) -> bytes | None:
        try:
            question = packet.parse(query)
        except packet.Malformed:
            return None
        if question.opcode:
            return packet.answer(question, [], code=packet.NOT_IMPLEMENTED)
        records = self._names.find(question.name, question.type)
        if records is not None:
            self._questions.own += 1
            return packet.answer(question, records)
        self._questions.forwarded += 1
        forwarder = self._forwarder()
        reply = await forwarder.ask_tcp(query) if forwarder else None
        return reply or packet.answer(question, [], code=packet.SERVER_FAILURE)
