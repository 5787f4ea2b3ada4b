"""The ports of this host that its containers publish: who has which."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
from collections.abc import Collection, Mapping, Sequence

from swarmlite.errors import AlreadyExists, FailedPrecondition, InvalidSpec, ResourceExhausted
from swarmlite.network.host_table import PROTOCOLS, HostPort
from swarmlite.network.netns import Threads
from swarmlite.network.view import View
from swarmlite.proto.types_pb2 import PortConfig

_DYNAMIC_PORTS = range(49153, 65536)
_TRIES = 64
_KINDS = {PortConfig.TCP: socket.SOCK_STREAM, PortConfig.UDP: socket.SOCK_DGRAM}
EVERYWHERE = ("", "0.0.0.0", "::")


class HostPorts:
    """One event loop's."""

    def __init__(self, threads: Threads, view: View, own: Mapping[str, Collection[int]]) -> None:
        """`own`: the ports of swarmlite itself, by protocol."""
        self._threads, self._view, self._own = threads, view, own
        self._by_sandbox: dict[str, list[HostPort]] = {}
        self._held: dict[tuple[str, int], dict[str, str]] = {}
        """(protocol, port) to host address (empty: all) to sandbox."""

    def all(self) -> Mapping[str, list[HostPort]]:
        """What is to be answered, by sandbox."""
        return self._by_sandbox

    async def take(self, sandbox_id: str, wanted: Sequence[PortConfig]) -> list[PortConfig]:
        """Reserve ports; those asked as 0 are chosen. Raises AlreadyExists, InvalidSpec."""
        taken: list[PortConfig] = []
        try:
            for port in wanted:
                granted = PortConfig()
                granted.CopyFrom(port)
                granted.published_port = await self._take(sandbox_id, port)
                granted.ClearField("published_port_end")
                taken.append(granted)
        except BaseException:
            self.release(sandbox_id)
            raise
        return taken

    async def _take(self, sandbox_id: str, port: PortConfig) -> int:
        if port.protocol not in PROTOCOLS or not 0 < port.target_port < 65536:
            raise InvalidSpec(f"port {port.target_port} cannot be published")
        _check_address(port.host_ip)
        first, last = port.published_port, port.published_port_end
        if first and last <= first:
            await self._reserve(sandbox_id, port, first)
            return first
        numbers = range(first, last + 1) if first else random.choices(_DYNAMIC_PORTS, k=_TRIES)
        for number in numbers:
            try:
                await self._reserve(sandbox_id, port, number)
            except AlreadyExists:
                continue
            return number
        where = f"from {first} to {last}" if first else "above 49152"
        raise ResourceExhausted(f"no free port on this host {where}")

    async def _reserve(self, sandbox_id: str, port: PortConfig, number: int) -> None:
        protocol, where = PROTOCOLS[port.protocol], _where(port.host_ip)
        what = f"port {number}/{protocol} of this host is already taken"
        if self._holder(protocol, number, where) is not None:
            raise AlreadyExists(f"{what} by another container")
        if number in self._own.get(protocol, ()):
            raise AlreadyExists(f"{what} by swarmlite itself")
        for service in self._view.services.values():
            for other in service.ingress_ports:
                same = (other.protocol, other.published_port) == (port.protocol, number)
                if same and _meet(_where(other.host_ip), where):
                    raise AlreadyExists(f"{what} by service {service.name}")
        self._held.setdefault((protocol, number), {})[where] = sandbox_id
        try:
            await self._threads.run(lambda: _try_bind(port, number))
        except OSError as error:
            self._held[protocol, number].pop(where, None)
            if error.errno == errno.EADDRINUSE:
                raise AlreadyExists(what) from error
            if error.errno == errno.EADDRNOTAVAIL:
                raise InvalidSpec(f"{port.host_ip} is not an address of this host") from error
            raise FailedPrecondition(f"port {number}/{protocol}: {error}") from error

    def _holder(self, protocol: str, number: int, where: str) -> str | None:
        for other, sandbox_id in self._held.get((protocol, number), {}).items():
            if _meet(other, where):
                return sandbox_id
        return None

    def hold(self, sandbox_id: str, targets: Sequence[str], ports: Sequence[PortConfig]) -> None:
        """Send reserved ports to a sandbox's addresses, IPv4 and IPv6, each to those that can."""
        held = self._by_sandbox[sandbox_id] = []
        for port in ports:
            protocol, where = PROTOCOLS[port.protocol], _where(port.host_ip)
            self._held.setdefault((protocol, port.published_port), {})[where] = sandbox_id
            held += [
                HostPort(protocol, port.published_port, port.host_ip, target, port.target_port)
                for target in targets
                if port.host_ip == "" or (":" in port.host_ip) == (":" in target)
            ]

    def release(self, sandbox_id: str) -> list[str]:
        """Give a sandbox's ports back; the addresses that answered them."""
        gone = self._by_sandbox.pop(sandbox_id, [])
        for holders in self._held.values():
            for where in [w for w, holder in holders.items() if holder == sandbox_id]:
                del holders[where]
        self._held = {key: holders for key, holders in self._held.items() if holders}
        return sorted({port.target for port in gone})


def _check_address(host_ip: str) -> None:
    try:
        ipaddress.ip_address(host_ip or "0.0.0.0")
    except ValueError:
        raise InvalidSpec(f"{host_ip[:60]!r} is not an IP address") from None


def _where(host_ip: str) -> str:
    if host_ip in EVERYWHERE:
        return ""
    try:
        return str(ipaddress.ip_address(host_ip))
    except ValueError:  # of a service that was made before this was refused
        return host_ip


def _meet(one: str, other: str) -> bool:
    return one == other or not one or not other


def _try_bind(port: PortConfig, number: int) -> None:
    kind = _KINDS.get(port.protocol)
    if kind is None:
        return
    family = socket.AF_INET6 if ":" in port.host_ip else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # What lingers from closed connections does not count, a listener does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((port.host_ip, number))
