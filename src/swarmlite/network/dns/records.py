"""The names of one network: services, tasks, aliases, and addresses back to names."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swarmlite.network.dns import packet
from swarmlite.network.view import View, host_of
from swarmlite.proto.dispatcher_pb2 import Endpoint, VirtualService

MAX_CACHED = 4096


@dataclass
class Zone:
    """Names to address records, and reversed addresses to pointer records, of one network."""

    addresses: dict[bytes, list[bytes]]
    pointers: dict[bytes, bytes]


def build(view: View, network_id: str) -> Zone:
    """The zone of a network from what the managers said. Pure."""
    builder = _Builder(view, network_id)
    return builder.build()


class _Builder:
    def __init__(self, view: View, network_id: str) -> None:
        self._view, self._network_id = view, network_id
        self._zone = Zone({}, {})
        network = view.networks.get(network_id)
        self._suffix = network.spec.annotations.name if network else ""

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
        backends = self._view.backends(self._network_id, service_id)
        vips = self._vips(service)
        self._add(name, vips or backends)
        self._add(f"tasks.{name}", backends)
        for vip in vips:
            self._point(vip, name)

    def _vips(self, service: VirtualService | None) -> list[str]:
        if service is None:
            return []
        return [host_of(v.addr) for v in service.vips if v.network_id == self._network_id]

    def _aliases(self, service_id: str, service: VirtualService | None) -> None:
        if service is None:
            return
        backends = self._view.backends(self._network_id, service_id)
        for entry in service.aliases:
            if entry.network_id != self._network_id:
                continue
            for alias in entry.names:
                self._add(alias, self._vips(service) or backends, shared=True)
                self._add(f"tasks.{alias}", backends, shared=True)

    def _endpoint(self, endpoint: Endpoint) -> None:
        address = host_of(endpoint.addr)
        names = [*endpoint.aliases, *([endpoint.hostname] if endpoint.hostname else [])]
        if endpoint.in_rotation:
            # An alias that the whole service has is the service's: its VIP answers, not the task.
            service = self._view.services.get(endpoint.service_id)
            own: set[str] = set()
            for entry in service.aliases if service else ():
                if entry.network_id == self._network_id:
                    own.update(entry.names)
            for name in names:
                if name not in own and name != endpoint.service_name:
                    self._add(name, [address], shared=True)
        label = endpoint.hostname or f"{endpoint.service_name or 'task'}.{endpoint.task_id}"
        self._point(address, f"{label}.{self._suffix}" if self._suffix else label)

    def _add(self, name: str, addresses: Iterable[str], *, shared: bool = False) -> None:
        try:
            key = packet.wire_name(name)
        except packet.Malformed:
            return
        records = [packet.address_record(socket.inet_aton(a)) for a in addresses]
        there = self._zone.addresses.get(key)
        if there is None:
            self._zone.addresses[key] = records
        elif shared:
            there += [record for record in records if record not in there]

    def _point(self, address: str, name: str) -> None:
        try:
            record = packet.pointer_record(packet.wire_name(name))
        except packet.Malformed:
            return
        self._zone.pointers.setdefault(packet.reverse_name(address), record)


class Zones:
    """The zones of all networks of this host, built when first asked for."""

    def __init__(self, view: View) -> None:
        self._view = view
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
            zone = self._zones[network_id] = build(self._view, network_id)
        return zone


class Names:
    """The names that one sandbox may ask for: those of its own networks, in their order."""

    def __init__(self, zones: Zones, networks: Sequence[str]) -> None:
        self._zones, self._networks = zones, list(networks)
        self._cache: dict[tuple[bytes, int], list[bytes] | None] = {}
        self._version = -1

    def find(self, name: bytes, kind: int) -> list[bytes] | None:
        """The records of a name, in a new order each time; None for a name that is not ours."""
        if self._version != self._zones.version or len(self._cache) > MAX_CACHED:
            self._cache.clear()
            self._version = self._zones.version
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
        for network_id in self._networks:
            zone = self._zones.get(network_id)
            if name in zone.addresses:
                return zone.addresses[name] if kind in (packet.A, packet.ANY) else []
            if name in zone.pointers:
                return [zone.pointers[name]] if kind in (packet.PTR, packet.ANY) else []
        return None
