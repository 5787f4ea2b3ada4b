"""Connections are forgotten by what they were sent to or answered by, on older kernels too."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from swarmlite.network import conntrack, netns
from swarmlite.network.netlink import (
    CREATE,
    NETLINK_NETFILTER,
    Message,
    Socket,
    attribute,
    attributes,
    nested,
)
from swarmlite.network.netlink import address_bytes as packed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")
NEW, GET, TIMEOUT = 1 << 8, 1 << 8 | 1, 7


class Stream(NamedTuple):
    """A UDP stream: who sent to what, and who answers."""

    source: str
    to: str
    port: int
    answered_by: str

    def made(self) -> Message:
        """The message that makes its entry."""
        there = _tuple(conntrack._TUPLE_ORIGINAL, self.source, self.to, 4000, self.port)
        back = _tuple(conntrack._TUPLE_REPLY, self.answered_by, self.source, self.port, 4000)
        family = socket.AF_INET6 if ":" in self.to else socket.AF_INET
        body = struct.pack(">BBH", family, 1, 0) + there + back
        return NEW, CREATE, body + attribute(TIMEOUT, struct.pack(">I", 600))


def _tuple(kind: int, source: str, to: str, source_port: int, port: int) -> bytes:
    first = 3 if ":" in to else 1
    return nested(
        kind,
        nested(1, attribute(first, packed(source)), attribute(first + 1, packed(to))),
        nested(
            2,
            attribute(1, bytes([socket.IPPROTO_UDP])),
            attribute(2, struct.pack(">H", source_port)),
            attribute(3, struct.pack(">H", port)),
        ),
    )


STREAMS = {
    "virtual": Stream("10.1.0.20", "10.1.0.2", 80, "10.1.0.10"),
    "other backend": Stream("10.1.0.20", "10.1.0.2", 81, "10.1.0.11"),
    "to it as a client": Stream("10.1.0.10", "10.1.0.3", 80, "10.1.0.12"),
    "published": Stream("198.51.100.7", "192.0.2.1", 53, "192.0.2.1"),
    "other port": Stream("198.51.100.7", "192.0.2.1", 54, "192.0.2.1"),
    "of IPv6": Stream("fd00::20", "fd00::2", 80, "fd00::10"),
    "published by IPv6": Stream("fd00::7", "fd00::1", 53, "fd00::1"),
}


@pytest.fixture
def left() -> Iterator[Socket]:
    """A namespace with STREAMS, by a socket in it."""
    host = netns.open_own()
    space = netns.create(host)
    try:
        with netns.inside(space, host):
            channel = Socket(NETLINK_NETFILTER)
            try:
                channel.send([stream.made() for stream in STREAMS.values()])
                yield channel
            finally:
                channel.close()
    finally:
        os.close(space)
        os.close(host)


def names(channel: Socket) -> set[str]:
    """Of the streams that are left."""
    found = set()
    for _, body in channel.dump(GET, struct.pack(">BBH", 0, 0, 0)):
        there = attributes(attributes(body, 4)[conntrack._TUPLE_ORIGINAL], 0)
        address = attributes(there[1], 0)
        port = struct.unpack(">H", attributes(there[2], 0)[3])[0]
        found |= {
            name
            for name, each in STREAMS.items()
            if packed(each.to) in address.values() and each.port == port
        }
    return found


@pytest.fixture(params=["this kernel", "one that deletes by whole tuples only"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux 6.1 refuses a delete by parts with EINVAL."""
    if request.param == "this kernel":
        return
    send = Socket.send

    def refused(self: Socket, messages: list[Message], *, ignore: list[int] | None = None) -> None:
        if any(conntrack._FILTER in attributes(body, 4) for _, _, body in messages):
            raise OSError(errno.EINVAL, "netlink: Invalid argument")
        send(self, messages, ignore=ignore or ())

    monkeypatch.setattr(Socket, "send", refused)


@pytest.mark.usefixtures("kernel")
def test_what_a_container_answered_is_forgotten_and_nothing_else(left: Socket) -> None:
    """Also of IPv6; what it asked others is theirs to answer."""
    conntrack.forget(["10.1.0.10", "fd00::10"])
    assert names(left) == set(STREAMS) - {"virtual", "of IPv6"}


@pytest.mark.usefixtures("kernel")
def test_streams_to_a_port_are_forgotten_and_nothing_else(left: Socket) -> None:
    """Of the addresses that are named."""
    conntrack.forget_udp(["192.0.2.1", "fd00::1"], [53])
    assert names(left) == set(STREAMS) - {"published", "published by IPv6"}


@pytest.mark.usefixtures("kernel", "left")
def test_many_are_sought_in_one_reading_of_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read as often for a thousand streams as for one; none is shown again for each."""
    dump, attributes_of = Socket.dump, conntrack.attributes
    done: list[str] = []

    def dumped(self: Socket, kind: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        done.append("dump")
        return dump(self, kind, body)

    def read(data: bytes, offset: int) -> dict[int, bytes]:
        done.append("read")
        return attributes_of(data, offset)

    monkeypatch.setattr(Socket, "dump", dumped)
    monkeypatch.setattr(conntrack, "attributes", read)
    conntrack.forget_udp(["fd00::1"], [54])
    once = done.count("read")
    done.clear()
    conntrack.forget_udp([f"fd00::{n}" for n in range(1, 21)], range(100, 150))
    assert (done.count("dump"), done.count("read")) == (1, once)
    done.clear()
    conntrack.forget_udp([f"192.0.2.{n}" for n in range(1, 21)], range(100, 150))
    assert done.count("dump") <= 1


@pytest.mark.usefixtures("kernel", "left")
def test_nothing_to_forget_is_no_error() -> None:
    """As at each start of a node."""
    conntrack.forget(["203.0.113.9"])
    conntrack.forget([])
