"""One node's part in a check of a network: it sends, listens, and says what it found."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.network import netlink
from swarmlite.network.checking.exchange import Exchange
from swarmlite.network.checking.frames import Frame, tag_of
from swarmlite.network.checking.tracing import Seen, Trace, words_of
from swarmlite.network.checking.wire import Wire
from swarmlite.network.drivers.overlay import Overlay
from swarmlite.network.netlink.constants import GETROUTE
from swarmlite.network.netns import Threads
from swarmlite.proto.control_pb2 import NetworkFindings, NetworkPeer, PeerFinding

Made = TypeVar("Made", Wire, Trace)
LIMIT_S = 60.0
ROUND_S = 0.1
PER_PEER_S = 0.002
"""A round to a thousand nodes takes two seconds."""
QUIET_S = 2.0
"""So long after the first round a node that was not heard is asked after with the kernel's help."""
SAY_EVERY_S = 0.2


@dataclass(frozen=True)
class Order:
    """What is to be checked."""

    id: str
    node_id: str
    """This node's."""
    nodes: Sequence[NetworkPeer]
    port: int
    """Of VXLAN."""


async def check(
    threads: Threads, overlay: Overlay, order: Order, repairs: Sequence[str] = ()
) -> AsyncGenerator[NetworkFindings, None]:
    """What is found, whenever it changes; ends after LIMIT_S.

    Raises FailedPrecondition, OSError, InvalidSpec for what is not an address. Closed or cancelled:
    nothing of it is left.
    """
    tag = tag_of(order.id)
    numbers = {peer.node_id: number for number, peer in enumerate(order.nodes)}
    me = numbers[order.node_id]
    addresses = {n: _address(order.nodes[n].addr) for n in numbers.values() if n != me}
    wire = await _kept(threads, lambda: Wire(overlay, threads.host, tag, addresses))
    part = _Part(order, Exchange(me, addresses, overlay.mtu), wire, addresses, repairs)
    loop = asyncio.get_running_loop()
    loop.add_reader(wire.socket, part.receive)
    tasks = [
        asyncio.create_task(part.send_often()),
        asyncio.create_task(part.ask_kernel(threads, overlay.vni)),
    ]
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                yield part.findings()
                await part.news.wait()
                await asyncio.sleep(SAY_EVERY_S)
    except TimeoutError:
        return
    finally:
        loop.remove_reader(wire.socket)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.shield(threads.run(wire.close))


class _Part:
    """What one check has gathered."""

    def __init__(
        self,
        order: Order,
        exchange: Exchange,
        wire: Wire,
        addresses: dict[int, str],
        repairs: Sequence[str],
    ) -> None:
        self._order, self._exchange, self._wire = order, exchange, wire
        self._addresses, self._repairs = addresses, repairs
        self._numbers = {address: number for number, address in addresses.items()}
        self._sending: dict[int, str] = {}
        self._arriving: dict[int, str] = {}
        self._arrived: set[int] = set()
        self._dropped: dict[tuple[int, bool], str] = {}
        self.news = asyncio.Event()

    def findings(self) -> NetworkFindings:
        """All of it, as a message."""
        self.news.clear()
        found = NetworkFindings(
            id=self._order.id, mtu=self._exchange.full, repairs=list(self._repairs)
        )
        for number in self._addresses:
            finding = PeerFinding(
                node_id=self._order.nodes[number].node_id,
                heard_bytes=self._exchange.heard_from(number),
                sending=self._sending.get(number, ""),
                arriving=self._arriving.get(number, ""),
                arrived=number in self._arrived,
            )
            found.peers.append(finding)
        return found

    def receive(self) -> None:
        """Frames have come."""

        def take(frame: Frame) -> None:
            if self._exchange.heard(frame):
                self.news.set()

        self._wire.receive(take)

    async def send_often(self) -> None:
        """A round of frames, again and again."""
        pause_s = max(ROUND_S, PER_PEER_S * len(self._addresses))
        while True:
            for count, frame in enumerate(self._exchange.round(), 1):
                self._wire.send(frame)
                if count % 64 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(pause_s)

    # where nothing comes
    async def ask_kernel(self, threads: Threads, vni: int) -> None:
        """Once some node has been silent for a while: routes, and which rules take its packets."""
        await asyncio.sleep(QUIET_S)
        quiet = {*self._exchange.silent(), *self._exchange.unheard()}
        if not quiet:
            return
        addresses = {self._addresses[number] for number in quiet}
        for number in self._exchange.unheard():
            address = self._addresses[number]
            self._say(self._sending, number, await threads.run(partial(_no_route, address)))
        async with self._trace(threads, addresses, vni):
            while True:
                await asyncio.sleep(SAY_EVERY_S)
                for (number, sent), rule in list(self._dropped.items()):
                    words = await threads.run(partial(words_of, rule))
                    self._say(self._sending if sent else self._arriving, number, words)

    @asynccontextmanager
    async def _trace(self, threads: Threads, addresses: set[str], vni: int) -> AsyncIterator[None]:
        try:
            name = tag_of(self._order.id).hex()
            trace = await _kept(threads, lambda: Trace(name, addresses, self._order.port, vni))
        except (OSError, FailedPrecondition) as error:
            for number in self._exchange.silent():
                self._say(self._arriving, number, f"the kernel cannot trace packets: {error}")
            raise
        loop = asyncio.get_running_loop()
        loop.add_reader(trace.socket, lambda: trace.receive(self._traced))
        try:
            yield
        finally:
            loop.remove_reader(trace.socket)
            await asyncio.shield(threads.run(trace.close))

    def _traced(self, seen: Seen) -> None:
        number = self._numbers.get(seen.source)
        sent = number is None
        if number is None and (number := self._numbers.get(seen.target)) is None:
            return
        if not sent and number not in self._arrived:
            self._arrived.add(number)
            self.news.set()
        if seen.dropped:
            self._dropped.setdefault((number, sent), seen.dropped)

    def _say(self, where: dict[int, str], number: int, words: str) -> None:
        if words and where.get(number) != words:
            where[number] = words
            self.news.set()


async def _kept(threads: Threads, make: Callable[[], Made]) -> Made:
    """What a thread makes. Cancelled meanwhile: it is closed again."""
    making = asyncio.ensure_future(threads.run(make))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        made = await making
        await threads.run(made.close)
        raise


def _address(text: str) -> str:
    """In its usual form: it becomes part of nft's commands."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise InvalidSpec(f"a node's data path: {text!r} is not an IP address") from error


def _no_route(address: str) -> str:
    """Why the host has no way to an address; empty where it has one."""
    with contextlib.closing(netlink.Socket()) as channel:
        try:
            channel.ask(GETROUTE, netlink.route_to(address), 12)
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL):
                return f"this host has no route to {address} ({os.strerror(error.errno)})"
            raise
    return ""
