"""Ports in Docker's JSON: "80/tcp" to the places where it is published."""

from __future__ import annotations

from collections.abc import Iterable

from swarmlite.proto.types_pb2 import PortConfig

Bindings = dict[str, list[dict[str, str]] | None]
ANY = ("0.0.0.0", "::")
"""The addresses of a port that is published on none of its own."""


def target(port: PortConfig) -> str:
    """ "80/tcp"."""
    return f"{port.target_port}/{PortConfig.Protocol.Name(port.protocol).lower()}"


def addresses(port: PortConfig) -> tuple[str, ...]:
    """The host's addresses that it is bound to."""
    return (port.host_ip,) if port.host_ip else ANY


def asked(ports: Iterable[PortConfig]) -> Bindings:
    """HostConfig.PortBindings: as they were asked for."""
    result: Bindings = {}
    for port in ports:
        host = str(port.published_port or "")
        if port.published_port_end:
            host = f"{port.published_port}-{port.published_port_end}"
        entry = {"HostIp": port.host_ip, "HostPort": host}
        entries = result.setdefault(target(port), [])
        assert entries is not None
        entries.append(entry)
    return result


def bound(ports: Iterable[PortConfig], exposed: Iterable[str]) -> Bindings:
    """NetworkSettings.Ports: as they are bound; those that are only exposed have null."""
    result: Bindings = dict.fromkeys(each(exposed))
    for port in ports:
        entries = result.get(target(port)) or []
        for address in addresses(port):
            entries.append({"HostIp": address, "HostPort": str(port.published_port)})
        result[target(port)] = entries
    return dict(sorted(result.items()))


def each(exposed: Iterable[str]) -> list[str]:
    """ "80/tcp" as it is, "7000-7002/udp" as three."""
    result = []
    for name in exposed:
        numbers, _, protocol = name.partition("/")
        first, dash, last = numbers.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            continue
        for number in range(int(first), int(last or first) + 1):
            result.append(f"{number}/{protocol or 'tcp'}")
    return result


def shown(ports: Iterable[PortConfig], exposed: Iterable[str]) -> str:
    """The column PORTS of `ps`: "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 90/tcp"."""
    published = list(ports)
    taken = {target(port) for port in published}
    pieces = _published(published)
    pieces += _ranges([_split(name) for name in each(exposed) if name not in taken])
    return ", ".join(pieces)


def _published(ports: list[PortConfig]) -> list[str]:
    """Neighbours of one address and protocol are one piece: 0.0.0.0:8000-8002->80-82/tcp."""
    rows = [
        (address, PortConfig.Protocol.Name(p.protocol).lower(), p.target_port, p.published_port)
        for p in ports
        for address in addresses(p)
    ]
    groups: list[list[tuple[str, str, int, int]]] = []
    for row in sorted(set(rows), key=lambda r: (":" in r[0], r[0], r[1], r[2], r[3])):
        last = groups[-1][-1] if groups else None
        follows = last is not None and (row[0], row[1], row[2], row[3]) == (
            last[0],
            last[1],
            last[2] + 1,
            last[3] + 1,
        )
        if follows:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_piece(group) for group in groups]


def _piece(group: list[tuple[str, str, int, int]]) -> str:
    address, protocol, target_port, published = group[0]
    host = f"[{address}]" if ":" in address else address
    if len(group) > 1:
        ends = f"{published}-{group[-1][3]}->{target_port}-{group[-1][2]}"
        return f"{host}:{ends}/{protocol}"
    return f"{host}:{published}->{target_port}/{protocol}"


def _split(name: str) -> tuple[str, int]:
    number, _, protocol = name.partition("/")
    return protocol, int(number)


def _ranges(ports: list[tuple[str, int]]) -> list[str]:
    groups: list[list[tuple[str, int]]] = []
    for protocol, number in sorted(set(ports)):
        if groups and groups[-1][-1] == (protocol, number - 1):
            groups[-1].append((protocol, number))
        else:
            groups.append([(protocol, number)])
    return [
        f"{group[0][1]}-{group[-1][1]}/{group[0][0]}"
        if len(group) > 1
        else f"{group[0][1]}/{group[0][0]}"
        for group in groups
    ]
