"""The addresses of a node: advertised, listened at, and of the data path.

An address is an IP, an interface's name, or nothing (chosen, when there is only one to choose).
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Mapping
from typing import Any

from swarmlite.errors import InvalidSpec
from swarmlite.model.numerals import decimal

PORT = 2377
_SIOCGIFADDR = 0x8915

_OF_CONTAINERS = ("swarmlite", "br-", "docker0", "docker_gwbridge")
"""What the names of bridges that lead to containers begin with."""


def interfaces() -> dict[str, str]:
    """The IPv4 address of each interface that is neither a loopback nor swarmlite's own."""
    found = {}
    for _, name in socket.if_nameindex():
        address = address_of(name)
        if address is not None and not ipaddress.ip_address(address).is_loopback:
            found[name] = address
    return found


def address_of(interface: str) -> str | None:
    """An interface's first IPv4 address, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            request = struct.pack("256s", interface.encode()[:15])
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def split(text: str, flag: str, default_port: int = PORT) -> tuple[str, int]:
    """Host and port of "HOST", "HOST:PORT", "[V6]:PORT". Raises InvalidSpec naming the flag."""
    host, port = text, str(default_port)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    number = decimal(port, 1, 65535)
    if not host or number is None:
        raise InvalidSpec(
            f"{flag}: {text[:60]!r} is not an address: expected IP[:PORT] or INTERFACE"
        )
    return host, number


def join(host: str, port: int) -> str:
    """ "HOST:PORT", in brackets for IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolve(host: str, flag: str) -> str:
    """The IP of an IP or an interface's name. Raises InvalidSpec naming the flag."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    address = address_of(host)
    if address is None:
        known = ", ".join(sorted(interfaces())) or "none"
        raise InvalidSpec(
            f"{flag}: {host!r} is neither an IP address nor an interface with one"
            f" (interfaces: {known})"
        )
    return address


def advertised(request: Mapping[str, Any]) -> tuple[str, str, str]:
    """A request's advertise_addr and listen_addr ("IP:PORT"), and data_path_addr ("IP")."""
    listen_host, listen_port = split(
        request.get("listen_addr") or f"0.0.0.0:{PORT}", "--listen-addr"
    )
    listen_ip = resolve(listen_host, "--listen-addr")
    if request.get("advertise_addr"):
        host, port = split(request["advertise_addr"], "--advertise-addr", listen_port)
        own = resolve(host, "--advertise-addr")
        if ipaddress.ip_address(own).is_unspecified:
            raise InvalidSpec("--advertise-addr must not be the unspecified address: name one")
    else:
        port = listen_port
        unspecified = ipaddress.ip_address(listen_ip).is_unspecified
        own = _only_one() if unspecified else listen_ip
    data = request.get("data_path_addr")
    data_ip = resolve(data, "--data-path-addr") if data else own
    return join(own, port), join(listen_ip, listen_port), data_ip


def _only_one() -> str:
    # Bridges of containers are not what other hosts reach this one by; Docker's beside us neither.
    found = {n: ip for n, ip in interfaces().items() if not n.startswith(_OF_CONTAINERS)}
    if not found:
        raise InvalidSpec(
            "could not choose an IP address to advertise since this system has none:"
            " specify one with --advertise-addr"
        )
    if len(set(found.values())) > 1:
        shown = " and ".join(f"{ip} on {name}" for name, ip in sorted(found.items()))
        raise InvalidSpec(
            "could not choose an IP address to advertise since this system has several"
            f" ({shown}): specify one with --advertise-addr"
        )
    return next(iter(found.values()))
