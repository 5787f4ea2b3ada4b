"""The names of one network: services, tasks, aliases, and addresses back to names."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from swarmlite.network.dns import packet
from swarmlite.network.netlink import address_bytes
from swarmlite.network.view import View, host_of
from swarmlite.proto.dispatcher_pb2 import Endpoint, VirtualService

MAX_CACHED = 4096
MAX_ANSWERS, MAX_TURNS, MAX_QUERY_BYTES = 64, 8, 128
"""Of a sandbox's answers that are ready: 150 KB at most."""
SHORT_ID = 12
"""As many characters of a container's id are a name of it."""


@dataclass
class Zone:
    """Names to address records, and reversed addresses to pointer records, of one network.

    Each name is also found with the network's own behind it: `web` as `web.front`.
    """

    addresses: dict[bytes, list[bytes]] = field(default_factory=dict)
    addresses6: dict[bytes, list[bytes]] = field(default_factory=dict)
    pointers: dict[bytes, bytes] = field(default_factory=dict)
    suffix: bytes = b""

    def find(self, name: bytes, kind: int) -> list[bytes] | None:
        """The records of a kind; empty for a name without any; None for a name not of here."""
        for asked in (name, self._stem(name)):
            if asked in self.addresses or asked in self.addresses6:
                four = self.addresses.get(asked, []) if kind in (packet.A, packet.ANY) else []
                six = self.addresses6.get(asked, []) if kind in (packet.AAAA, packet.ANY) else []
                return [*four, *six] if four and six else four or six
        if name in self.pointers:
            return [self.pointers[name]] if kind in (packet.PTR, packet.ANY) else []
        return None

    def _stem(self, name: bytes) -> bytes:
        if not self.suffix or not name.endswith(self.suffix) or len(name) == len(self.suffix):
            return name
        return name[: -len(self.suffix)] + b"\0"

    def name(self, network: str) -> None:
        """The zone is of the network with this name."""
        with contextlib.suppress(packet.Malformed):
            self.suffix = packet.wire_name(network)

    def add(self, name: str, addresses: Iterable[str], *, shared: bool = False) -> None:
        """Give a name its addresses; who came first keeps it, unless it is `shared`."""
        try:
            key = packet.wire_name(name)
        except packet.Malformed:
            return
        four: list[bytes] = []
        six: list[bytes] = []
        for address in addresses:
            record = packet.address_record(address_bytes(address))
            (six if ":" in address else four).append(record)
        known = key in self.addresses or key in self.addresses6
        if known and not shared:
            return
        for table, records in ((self.addresses, four), (self.addresses6, six)):
            there = table.setdefault(key, [])
            there += [record for record in records if record not in there]

    def point(self, address: str, name: str) -> None:
        """Turn an address back into a name; the first one counts."""
        try:
            record = packet.pointer_record(packet.wire_name(name))
        except packet.Malformed:
            return
        self.pointers.setdefault(packet.reverse_name(address), record)


def build(view: View, network_id: str) -> Zone:
    """The zone of a network from what the managers said. Pure."""
    builder = _Builder(view, network_id)
    return builder.build()


class _Builder:
    def __init__(self, view: View, network_id: str) -> None:
        self._view, self._network_id = view, network_id
        self._zone = Zone()
        network = view.networks.get(network_id)
        self._suffix = network.spec.annotations.name if network else ""
        self._zone.name(self._suffix)

    def build(self) -> Zone:
        view, network_id = self._view, self._network_id
        endpoints = [e for e in view.endpoints(network_id) if e.task_id]
        known = {e.service_id: e.service_name for e in endpoints if e.service_id}
        known |= {s.id: s.name for s in view.services_on(network_id)}
        # A service's own name comes before an alias that someone else chose.
        for service_id, name in sorted(known.items()):
            self._service(service_id, name, view.services.get(service_id))
        for service_id in sorted(known):
            self._aliases(service_id, view.services.get(service_id))
        for endpoint in endpoints:
            self._endpoint(endpoint)
        return self._zone

    def _service(self, service_id: str, name: str, service: VirtualService | None) -> None:
        backends = self._backends(service_id)
        vips = self._vips(service)
        self._zone.add(name, vips or backends)
        self._zone.add(f"tasks.{name}", backends)
        for vip in vips:
            self._zone.point(vip, name)

    def _backends(self, service_id: str) -> list[str]:
        four = self._view.backends(self._network_id, service_id)
        return four + self._view.backends(self._network_id, service_id, six=True)

    def _vips(self, service: VirtualService | None) -> list[str]:
        if service is None:
            return []
        return [host_of(v.addr) for v in service.vips if v.network_id == self._network_id]

    def _aliases(self, service_id: str, service: VirtualService | None) -> None:
        if service is None:
            return
        backends = self._backends(service_id)
        for entry in service.aliases:
            if entry.network_id != self._network_id:
                continue
            for alias in entry.names:
                self._zone.add(alias, self._vips(service) or backends, shared=True)
                self._zone.add(f"tasks.{alias}", backends, shared=True)

    def _endpoint(self, endpoint: Endpoint) -> None:
        addresses = [host_of(cidr) for cidr in (endpoint.addr, endpoint.addr6) if cidr]
        # A task's own names are answered before it is in rotation: what forms a cluster has to
        # find its peers while it starts.
        short = endpoint.container_id[:SHORT_ID]
        own = [name for name in (endpoint.name, short, endpoint.hostname) if name]
        for name in own:
            if name != endpoint.service_name:
                self._zone.add(name, addresses, shared=True)
        if endpoint.in_rotation:
            self._shared_names(endpoint, addresses)
        label = own[0] if own else f"{endpoint.service_name or 'task'}.{endpoint.task_id}"
        for address in addresses:
            self._zone.point(address, f"{label}.{self._suffix}" if self._suffix else label)

    def _shared_names(self, endpoint: Endpoint, addresses: list[str]) -> None:
        # An alias that the whole service has is the service's: its VIP answers, not the task.
        service = self._view.services.get(endpoint.service_id)
        services: set[str] = set()
        for entry in service.aliases if service else ():
            if entry.network_id == self._network_id:
                services.update(entry.names)
        for name in endpoint.aliases:
            if name not in services and name != endpoint.service_name:
                self._zone.add(name, addresses, shared=True)


@dataclass(frozen=True)
class LocalPlace:
    """What a sandbox is found by on one of this host's own networks."""

    network: str
    """The network's name."""
    names: tuple[str, ...]
    aliases: tuple[str, ...]
    addresses: tuple[str, ...]


class LocalNames:
    """The names on this host's own networks; one event loop's."""

    def __init__(self) -> None:
        self._places: dict[str, dict[str, LocalPlace]] = {}

    def set(self, sandbox_id: str, places: Mapping[str, LocalPlace]) -> set[str]:
        """A sandbox's places by network id; the networks whose names changed."""
        changed = set()
        for network_id in [i for i, found in self._places.items() if sandbox_id in found]:
            if network_id not in places:
                changed.add(network_id)
                del self._places[network_id][sandbox_id]
        for network_id, place in places.items():
            known = self._places.setdefault(network_id, {})
            if known.get(sandbox_id) != place:
                known[sandbox_id] = place
                changed.add(network_id)
        return changed

    def zone(self, network_id: str) -> Zone | None:
        """None for a network that no sandbox has been on."""
        places = self._places.get(network_id)
        if places is None:
            return None
        zone = Zone()
        for place in places.values():
            zone.name(place.network)
            for name in (*place.names, *place.aliases):
                zone.add(name, place.addresses, shared=True)
            for address in place.addresses:
                if place.names:
                    zone.point(address, f"{place.names[0]}.{place.network}")
        return zone


class Zones:
    """The zones of all networks of this host, built when first asked for."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.local = LocalNames()
        self._zones: dict[str, Zone] = {}
        self.version = 0

    def forget(self, networks: Iterable[str]) -> None:
        """These networks' names changed."""
        for network_id in networks:
            self._zones.pop(network_id, None)
        self.version += 1

    def get(self, network_id: str) -> Zone:
        """The zone of a network; empty for one that is not known."""
        zone = self._zones.get(network_id)
        if zone is None:
            zone = self.local.zone(network_id) or build(self._view, network_id)
            self._zones[network_id] = zone
        return zone


class Names:
    """The names that one sandbox may ask for: those of its own networks, in their order."""

    def __init__(self, zones: Zones, networks: Sequence[str]) -> None:
        self._zones, self._networks = zones, list(networks)
        self._links: dict[bytes, bytes] = {}
        self._cache: dict[tuple[bytes, int], list[bytes] | None] = {}
        self._answers: dict[bytes, list[bytes]] = {}
        """By a query without its number, the answers without theirs."""
        self._version = -1

    def answer(self, query: bytes) -> bytes | None:
        """The answer to a query that was asked before, if `keep` was told of it since a change."""
        if self._version != self._zones.version:
            self._forget()
        answers = self._answers.get(query[2:])
        if answers is None:
            return None
        return query[:2] + answers[int(random.random() * len(answers))]

    def keep(
        self, query: bytes, records: list[bytes], answer: Callable[[list[bytes]], bytes]
    ) -> None:
        """Have `answer` make all answers to a query, if they are few: one for each order."""
        if len(records) > MAX_TURNS or len(query) > MAX_QUERY_BYTES:
            return
        if len(self._answers) >= MAX_ANSWERS:
            self._answers.clear()
        turns = [records[turn:] + records[:turn] for turn in range(len(records) or 1)]
        self._answers[query[2:]] = [answer(turn)[2:] for turn in turns]

    def _forget(self) -> None:
        self._cache.clear()
        self._answers.clear()
        self._version = self._zones.version

    def find(self, name: bytes, kind: int) -> list[bytes] | None:
        """The records of a name, in a new order each time; None for a name that is not ours."""
        if self._version != self._zones.version or len(self._cache) > MAX_CACHED:
            self._forget()
        key = (name, kind)
        if key in self._cache:
            records = self._cache[key]
        else:
            records = self._cache[key] = self._find(name, kind)
        if records is None or len(records) < 2:
            return records
        turn = random.randrange(len(records))
        return records[turn:] + records[:turn]

    def _find(self, name: bytes, kind: int) -> list[bytes] | None:
        meant = self._links.get(name, name)
        for network_id in self._networks:
            found = self._zones.get(network_id).find(meant, kind)
            if found is not None:
                return found
        return None

    def follow(self, networks: Sequence[str], links: Iterable[tuple[str, str]] = ()) -> None:
        """The sandbox is on these networks from now on; `links` are names and its own for them."""
        self._networks = list(networks)
        self._links.clear()
        for name, alias in links:
            with contextlib.suppress(packet.Malformed):
                self._links[packet.wire_name(alias)] = packet.wire_name(name)
        self._forget()
