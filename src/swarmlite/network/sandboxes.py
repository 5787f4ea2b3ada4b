"""The sandboxes of a host: making, changing, adopting and letting go of them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swarmlite.errors import AlreadyExists, InvalidSpec, NotFound, SwarmliteError
from swarmlite.network import load_balancer, netns
from swarmlite.network.drivers.api import Driver
from swarmlite.network.drivers.locals import LocalDrivers
from swarmlite.network.drivers.overlays import Overlays
from swarmlite.network.host import HostWiring
from swarmlite.network.netns import Threads
from swarmlite.network.records import Records
from swarmlite.network.resolvers import Resolvers
from swarmlite.network.sandbox import SandboxWiring, egress_interface, link_index
from swarmlite.network.spares import Spares
from swarmlite.network.state import AttachmentRecord, SandboxRecord, encode
from swarmlite.network.view import Touched, View

log = logging.getLogger(__name__)
GROUP = 16
"""Sandboxes that one piece of work for a thread changes."""
_Sockets = tuple[socket.socket, socket.socket]


@dataclass
class _Held:
    """A sandbox; `wiring` and `sockets` come once it is made. The lock is held meanwhile."""

    record: SandboxRecord
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wiring: SandboxWiring | None = None
    sockets: _Sockets | None = None
    """Taken up, but not answered on before the managers' word is known."""

    @property
    def stack(self) -> bool:
        """Whether it has a network stack of its own."""
        return not self.record.host and not self.record.join


@dataclass(frozen=True)
class _Change:
    """What a flush does to one sandbox."""

    wiring: SandboxWiring
    vips: Mapping[str, Sequence[str]]
    gone: Sequence[str]
    """Addresses to cut connections to."""


_Wired = tuple[str, SandboxWiring | None, Mapping[str, Sequence[str]]]


class Sandboxes:
    """By id; one event loop's."""

    def __init__(
        self,
        threads: Threads,
        view: View,
        directory: Path,
        records: Records,
        host: HostWiring,
        overlays: Overlays,
        local: LocalDrivers,
        resolvers: Resolvers,
        spares: Spares,
    ) -> None:
        self._spares = spares
        self._threads, self._view, self._directory = threads, view, directory
        self._records, self._host = records, host
        self._overlays, self._local, self._resolvers = overlays, local, resolvers
        self._held: dict[str, _Held] = {}
        self._informed = False
        self._vips_known: dict[tuple[str, ...], Mapping[str, Sequence[str]]] = {}
        self._vips_version = -1

    def __contains__(self, sandbox_id: str) -> bool:
        return sandbox_id in self._held

    def ids(self) -> list[str]:
        """All, those being made too."""
        return list(self._held)

    def networks(self) -> set[str]:
        """The networks that any of them is on."""
        return {i for held in self._held.values() for i in held.record.networks()}

    def used(self, network_id: str) -> set[str]:
        """The addresses in use on a network."""
        return {
            address
            for held in self._held.values()
            for place in held.record.attachments
            if place.network_id == network_id
            for address in (place.address, place.address6)
            if address
        }

    def users(self, network_id: str) -> list[str]:
        """The ids of those on a network."""
        return [i for i, held in self._held.items() if network_id in held.record.networks()]

    def managed(self) -> list[str]:
        """The ids of those that are on a network of the managers."""
        return [
            i
            for i, held in self._held.items()
            if held.record.ingress_addresses or any(not p.local for p in held.record.attachments)
        ]

    def ports(self) -> set[str]:
        """See claims.Claims; from any thread."""
        records = [held.record for held in list(self._held.values())]
        return {port for r in records for port in (r.egress_port, *(a.port for a in r.attachments))}

    def record(self, sandbox_id: str) -> SandboxRecord:
        """What is known of one. Raises NotFound."""
        held = self._held.get(sandbox_id)
        if held is None:
            raise NotFound(f"sandbox {sandbox_id} is not there")
        return held.record

    # making
    def reserve(self, record: SandboxRecord) -> None:
        """Count one as there, its addresses as taken, before it is made. Raises AlreadyExists."""
        if record.id in self._held:
            raise AlreadyExists(f"sandbox {record.id} exists")
        self._held[record.id] = _Held(record)

    async def create(self, sandbox_id: str) -> SandboxRecord:
        """Make a reserved one; the record with what was chosen. Raises OSError, SwarmliteError.

        Failed: nothing of it is left.
        """
        held = self._held[sandbox_id]
        async with held.lock:
            try:
                await self._create(held)
            except BaseException:
                await self._undo(held)
                raise
            return held.record

    async def _create(self, held: _Held) -> None:
        ports = await self._host.ports.take(held.record.id, held.record.ports())
        held.record = dataclasses.replace(
            held.record, host_ports=tuple(encode(port) for port in ports)
        )
        if not held.stack:
            self._records.save(held.record)
            return
        await self._host.prepare(self._local.known_interfaces())
        drivers = {a.port: await self._driver(a) for a in held.record.attachments}
        vips = self._vips(held.record.networks())
        if spare := self._spares.take():
            held.wiring, held.sockets = spare
        await self._threads.run(lambda: self._wire(held, drivers, vips))
        assert held.wiring is not None and held.sockets is not None
        self._host.hold(held.record, held.record.ports())
        await self._resolvers.keep(held.record.id, held.sockets)
        await self._serve(held)
        await self._host.refresh()
        self._host.check(held.record.id)

    async def _driver(self, place: AttachmentRecord) -> Driver:
        if place.local:
            return await self._local.get(place.network_id)
        return await self._overlays.get(place.network_id)

    def _held_driver(self, place: AttachmentRecord) -> Driver | None:
        if place.local:
            return self._local.held(place.network_id)
        return self._overlays.held(place.network_id)

    def _wire(
        self,
        held: _Held,
        drivers: Mapping[str, Driver],
        vips: Mapping[str, Sequence[str]],
    ) -> None:
        """The kernel's part, on one thread: what fails half-way is undone by the caller."""
        record = held.record
        start = load_balancer.spread(record.id)
        if held.wiring is None:
            made = SandboxWiring.create(self._threads.host, start, vips)
            held.wiring, held.sockets = made
        else:
            held.wiring.begin(start, vips)
        wiring = held.wiring
        for place in record.attachments:
            drivers[place.port].attach(
                place.plug(), namespace=wiring.namespace, index=link_index(place.interface)
            )
        if record.egress_port:
            interface = egress_interface(record)
            egress = self._host.egress.attach(
                record.egress_port,
                record.ingress_addresses,
                peer=interface,
                peer_index=link_index(interface),
                namespace=wiring.namespace,
            )
            held.record = record = dataclasses.replace(record, egress_address=egress.address)
        wiring.configure(record, self._host.egress.gateway, six=self._host.egress.six)
        wiring.pin(self._directory / record.id)
        self._records.save(record)

    # changing
    async def connect(
        self, sandbox_id: str, lay: Callable[[SandboxRecord], AttachmentRecord]
    ) -> AttachmentRecord:
        """Give one a place more; `lay` decides it. Raises NotFound, OSError, SwarmliteError.

        Failed or cancelled: it is as it was.
        """
        held = self._existing(sandbox_id)
        async with held.lock:
            if held.wiring is None:
                raise NotFound(f"sandbox {sandbox_id} is not there")
            before = held.record
            place = lay(before)
            held.record = dataclasses.replace(before, attachments=(*before.attachments, place))
            try:
                await self._join(held, held.wiring, place)
            except BaseException:
                await self._leave(held, held.wiring, place, before)
                raise
        return place

    async def _join(self, held: _Held, wiring: SandboxWiring, place: AttachmentRecord) -> None:
        driver, record = await self._driver(place), held.record
        vips = self._vips(record.networks())

        def work() -> None:
            driver.attach(place.plug(), namespace=wiring.namespace, index=0)
            wiring.add(place, record)
            wiring.balance(vips)
            self._records.save(record)

        await self._threads.run(work)
        await self._changed(held)

    async def disconnect(self, sandbox_id: str, network_id: str) -> None:
        """Take one off a network; safe when it is not on it. Raises NotFound, OSError."""
        held = self._existing(sandbox_id)
        async with held.lock:
            places = [p for p in held.record.attachments if p.network_id == network_id]
            if held.wiring is None or not places:
                return
            left = tuple(p for p in held.record.attachments if p.network_id != network_id)
            record = dataclasses.replace(held.record, attachments=left)
            await self._leave(held, held.wiring, places[0], record)

    async def _leave(
        self, held: _Held, wiring: SandboxWiring, place: AttachmentRecord, record: SandboxRecord
    ) -> None:
        held.record = record
        driver = self._held_driver(place)
        vips = self._vips(record.networks())

        def work() -> None:
            if driver is not None:
                driver.detach(place.port)
            wiring.remove(place, record)
            wiring.balance(vips)
            self._records.save(record)

        await self._threads.run(work)
        await self._changed(held)

    async def rename(self, sandbox_id: str, names: Sequence[str]) -> None:
        """Have one found by other names from now on. Raises NotFound, OSError."""
        held = self._existing(sandbox_id)
        async with held.lock:
            held.record = record = dataclasses.replace(held.record, names=tuple(names))
            await self._threads.run(lambda: self._records.save(record))
            self._resolvers.follow(record)

    async def _changed(self, held: _Held) -> None:
        self._resolvers.follow(held.record)
        self._host.hold(held.record, held.record.ports())
        await self._host.refresh()

    def _existing(self, sandbox_id: str) -> _Held:
        held = self._held.get(sandbox_id)
        if held is None:
            raise NotFound(f"sandbox {sandbox_id} is not there")
        if not held.stack or held.record.mode:
            raise InvalidSpec(
                f"a container on network mode {held.record.mode or 'host'} cannot be on other "
                "networks"
            )
        return held

    async def _serve(self, held: _Held) -> None:
        if held.sockets is not None and held.wiring is not None:
            sockets, held.sockets = held.sockets, None
            await self._resolvers.serve(held.record, sockets, held.wiring.namespace)

    # adoption
    def load(self) -> list[SandboxRecord]:
        """The records whose sandboxes are still there; others, and pins without one, go."""
        found = []
        for record in self._records.load():
            if record.host or netns.is_pinned(self._directory / (record.join or record.id)):
                found.append(record)
            else:
                self._records.remove(record.id)
        known = {record.id for record in found}
        for path in self._directory.iterdir():
            if path.name not in known and not path.name.startswith("net-") and path.name != "host":
                netns.unpin(path)
        return found

    async def adopt(self, records: Sequence[SandboxRecord]) -> None:
        """Count what an earlier process made as ours. Raises OSError."""
        for record in records:
            held = self._held[record.id] = _Held(record)
            if not held.stack:
                continue
            namespace = os.open(self._directory / record.id, os.O_RDONLY | os.O_CLOEXEC)
            start = load_balancer.spread(record.id)
            held.wiring = SandboxWiring(namespace, self._threads.host, start)
            held.sockets = await self._resolvers.kept(record.id)
            if held.sockets is not None:
                held.wiring.know(*held.sockets)
            else:
                with contextlib.suppress(OSError):
                    held.sockets = await self._threads.run(held.wiring.dns_sockets)
                    await self._resolvers.keep(record.id, held.sockets)
        for held in list(self._held.values()):
            await self._reach6(held)
            await self._adopt_local(held)

    async def _reach6(self, held: _Held) -> None:
        """Nodes lead connections by IPv6 to every task, whichever release made its stack."""
        wiring, record, egress = held.wiring, held.record, self._host.egress
        if wiring is None or not record.egress_port or not egress.six:
            return
        try:
            await self._threads.run(lambda: wiring.reach6(record, egress.gateway))
        except OSError as error:
            log.warning("a container has no IPv6 by its host sandbox=%s error=%s", record.id, error)

    async def _adopt_local(self, held: _Held) -> None:
        """Places on networks of this host wait for no manager's word."""
        for place in held.record.attachments:
            if place.local:
                try:
                    (await self._local.get(place.network_id)).expect(place.plug())
                except (OSError, SwarmliteError) as error:
                    log.error("network %s: not taken up: %s", place.network_name, error)
        if held.stack and all(place.local for place in held.record.attachments):
            self._resolvers.follow(held.record)
            await self._serve(held)

    def inform(self) -> None:
        """The managers' word is there: the next `flush` wires and answers what was adopted."""
        self._informed = True

    async def resume(self) -> None:
        """Answer names for what was adopted; its wiring stays as it is."""
        for held in list(self._held.values()):
            async with held.lock:
                if held.wiring is not None and held.sockets is not None:
                    await self._resume(held)

    async def _resume(self, held: _Held) -> None:
        for place in held.record.attachments:
            if not place.local and place.network_id in self._view.networks:
                (await self._overlays.get(place.network_id)).expect(place.plug())
        await self._serve(held)

    # changes
    async def flush(self, touched: Touched) -> None:
        """Balance again, and cut connections to what is gone, where a change concerns it."""

        def change(held: _Held) -> _Change | None:
            networks = held.record.networks()
            gone = sorted(address for network, address in touched.gone if network in networks)
            assert held.wiring is not None
            wanted = self._vips(networks)
            if not gone and held.wiring.balances(wanted):
                return None
            return _Change(held.wiring, wanted, gone)

        concerned = [
            held
            for held in self._held.values()
            if held.sockets is not None or touched.networks.intersection(held.record.networks())
        ]
        async for group in self._in_turn(concerned):
            for held in group:
                if held.sockets is not None:
                    await self._resume(held)
            changes = {held.record.id: made for held in group if (made := change(held))}
            if changes:
                for sandbox_id, error in await self._threads.run(lambda c=changes: _carry_out(c)):  # type: ignore[misc]
                    log.error("sandbox %s: a change failed: %s", sandbox_id, error)

    async def _in_turn(self, chosen: Iterable[_Held]) -> AsyncIterator[list[_Held]]:
        """Groups of sandboxes that are there, each with its members' locks held meanwhile.

        Those that nobody changes now come several at once: one piece of work for a thread. For the
        others each is waited for by itself.
        """
        waiting, busy = deque(chosen), list[_Held]()
        while waiting or busy:
            group: list[_Held] = []
            while waiting and len(group) < GROUP:
                held = waiting.popleft()
                (busy if held.lock.locked() else group).append(held)
            if not group and busy:
                group = [busy.pop(0)]
            async with contextlib.AsyncExitStack() as stack:
                for held in group:
                    await stack.enter_async_context(held.lock)
                there = [h for h in group if h.wiring is not None and h.record.id in self._held]
                if there:
                    yield there

    def _vips(self, networks: tuple[str, ...]) -> Mapping[str, Sequence[str]]:
        """The VIPs of some networks as they are now, computed once for all sandboxes on them."""
        if self._vips_version != self._view.version:
            self._vips_known, self._vips_version = {}, self._view.version
        if (found := self._vips_known.get(networks)) is None:
            found = self._vips_known[networks] = load_balancer.vips(self._view, networks)
        return found

    async def reconcile(self) -> list[str]:
        """Repair VIP tables; one line for each repair. Raises OSError, SwarmliteError."""
        repairs = []
        async for group in self._in_turn(list(self._held.values())):
            # Looked up for each group: what a flush has loaded meanwhile must not be taken back.
            wired = [(h.record.id, h.wiring, self._vips(h.record.networks())) for h in group]

            def work(wired: Sequence[_Wired] = wired) -> list[str]:
                return [sandbox_id for sandbox_id, wiring, vips in wired if _repair(wiring, vips)]

            for sandbox_id in await self._threads.run(work):
                repairs.append(f"sandbox {sandbox_id}: VIP table loaded again")
        return repairs

    async def resize(self) -> None:
        """Give their interfaces the sizes that networks of the managers and the way out have now.

        Raises OSError.
        """
        async for group in self._in_turn(list(self._held.values())):
            wired = [(h.wiring, self._sizes(h.record)) for h in group if h.wiring is not None]

            def work(wired: Sequence[tuple[SandboxWiring, Mapping[str, int]]] = wired) -> None:
                for wiring, sizes in wired:
                    wiring.resize(sizes)

            await self._threads.run(work)

    def _sizes(self, record: SandboxRecord) -> dict[str, int]:
        sizes = {
            place.interface: mtu
            for place in record.attachments
            if not place.local
            and place.interface
            and (mtu := self._overlays.mtu_of(place.network_id)) is not None
        }
        if record.egress_port:
            sizes[egress_interface(record)] = self._host.egress.mtu
        return sizes

    # letting go
    async def delete(self, sandbox_id: str) -> None:
        """Let one go; safe to repeat. Raises FailedPrecondition when nft refuses."""
        held = self._held.get(sandbox_id)
        if held is None:
            self._records.remove(sandbox_id)
            return
        async with held.lock:
            if self._held.get(sandbox_id) is held:
                await self._undo(held)

    async def _undo(self, held: _Held) -> None:
        record = held.record
        for channel in held.sockets or ():
            channel.close()
        held.sockets = None
        try:
            await self._resolvers.drop(record.id)
        except SwarmliteError as error:
            log.error("sandbox %s: its DNS sockets stay held: %s", record.id, error)
        places = [(a, driver) for a in record.attachments if (driver := self._held_driver(a))]
        own = [place.interface for place, driver in places if driver.inside]

        def work() -> None:
            for place, driver in places:
                with _logged(record.id):
                    driver.detach(place.port)
            if own and held.wiring is not None:
                with _logged(record.id):
                    held.wiring.take_away(own)
            with _logged(record.id):
                self._host.egress.detach(record.egress_port)
            netns.unpin(self._directory / record.id)
            if held.wiring is not None:
                held.wiring.close()

        await self._threads.run(work)
        self._records.remove(record.id)
        self._host.release(record.id)
        self._held.pop(record.id, None)
        if not self._host.rules.lost or (self._informed and not self._overlays.doubt):
            await self._host.refresh()
        # Else what the process before this one loaded stays whole until the managers speak, or a
        # repair finds that they have been silent for long (node.DOUBT_S).

    async def close(self) -> None:
        """Let go of descriptors; what is in the kernel stays."""
        for held in self._held.values():
            async with held.lock:
                if held.wiring is not None:
                    held.wiring.close()
                for channel in held.sockets or ():
                    channel.close()
        self._held.clear()


@contextlib.contextmanager
def _logged(sandbox_id: str) -> Iterator[None]:
    """What the kernel keeps of a sandbox goes with its namespace: the rest is let go of first."""
    try:
        yield
    except OSError as error:
        log.error("sandbox %s: the kernel keeps a part of it for now: %s", sandbox_id, error)


def _carry_out(changes: Mapping[str, _Change]) -> list[tuple[str, Exception]]:
    """On a thread; what failed, by sandbox."""
    failed: list[tuple[str, Exception]] = []
    for sandbox_id, change in changes.items():
        try:
            change.wiring.balance(change.vips)
            if change.gone:
                change.wiring.forget(change.gone)
        except (OSError, SwarmliteError) as error:
            failed.append((sandbox_id, error))
    return failed


def _repair(wiring: SandboxWiring | None, vips: Mapping[str, Sequence[str]]) -> bool:
    if wiring is None:
        return False
    repaired = wiring.repair()
    wiring.balance(vips)
    return repaired
