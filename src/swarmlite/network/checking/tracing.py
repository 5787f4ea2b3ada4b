"""What nftables does with the packets between two hosts, by the kernel's own trace of them.

A table of its own marks the packets of one network's tunnel; each table's verdicts about them come
by netlink. Source: linux/netfilter/nf_tables.h, NFT_MSG_TRACE.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from swarmlite.errors import FailedPrecondition
from swarmlite.network import nft
from swarmlite.network.netlink import NETLINK_NETFILTER, attributes

_PREFIX = "inet swarmlite-trace-"
_TRACE_GROUP = 9
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_TRACE_MESSAGE = 10 << 8 | 17
_CHAIN_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID, _NETWORK_HEADER = 1, 2, 3, 4, 5, 6, 8
_POLICY = 16
_IS_POLICY, _IS_RULE = 1, 3
_CODE, _DROP = 1, 0
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
MAX_PACKETS = 4096
"""Of which the addresses are remembered: a trace's later messages name the packet only."""

_RULES = """
  chain %(chain)s {
    type filter hook %(hook)s priority -450; policy accept;
    %(family)s %(side)s { %(peers)s } udp dport %(port)d @th,96,24 %(vni)#x \\
      limit rate 50/second meta nftrace set 1
  }
"""


@dataclass(frozen=True)
class Seen:
    """A packet that the kernel traced, and what a rule did to it."""

    source: str
    target: str
    dropped: str = ""
    """The rule that dropped it; empty while it goes on."""


def table(name: str, peers: Collection[str], port: int, vni: int) -> str:
    """The commands that mark what goes to and comes from `peers` in one network's tunnel."""
    family = "ip6" if any(":" in peer for peer in peers) else "ip"
    shared = {"family": family, "peers": ", ".join(sorted(peers)), "port": port, "vni": vni}
    chains = [
        _RULES % {**shared, "chain": "arriving", "hook": "prerouting", "side": "saddr"},
        _RULES % {**shared, "chain": "sending", "hook": "output", "side": "daddr"},
    ]
    return f"{_removal(name)}table {_PREFIX}{name} {{{''.join(chains)}}}\n"


def _removal(name: str) -> str:
    return f"table {_PREFIX}{name}\ndelete table {_PREFIX}{name}\n"


def sweep() -> None:
    """Remove what checks of a process that was killed left in the calling thread's namespace."""
    with contextlib.suppress(FailedPrecondition):
        for line in nft.ask("list tables").splitlines():
            if line.startswith(f"table {_PREFIX}"):
                nft.run(f"delete {line}\n")


class Trace:
    """Of the calling thread's namespace from `__init__` to `close`."""

    def __init__(self, name: str, peers: Collection[str], port: int, vni: int) -> None:
        """`name` tells it from other checks'. Raises OSError, FailedPrecondition."""
        self._name = name
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        try:
            self.socket.setblocking(False)
            self.socket.bind((0, 0))
            self.socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _TRACE_GROUP)
            nft.run(table(name, peers, port, vni))
        except BaseException:
            self.socket.close()
            raise
        self._packets: dict[bytes, tuple[str, str]] = {}

    def receive(self, take: Callable[[Seen], None]) -> None:
        """Hand over what has come; for `Seen.dropped` the rules are not looked up yet."""
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except OSError:  # nothing more, or too much: the next ones say it again
                return
            for family, values in _messages(data):
                if (seen := self._seen(family, values)) is not None:
                    take(seen)

    def _seen(self, family: int, values: dict[int, bytes]) -> Seen | None:
        packet = values.get(_ID, b"")
        if (header := values.get(_NETWORK_HEADER)) and (ends := _ends(header)):
            if len(self._packets) >= MAX_PACKETS:
                self._packets.clear()
            self._packets[packet] = ends
        known = self._packets.get(packet)
        return Seen(*known, _dropping(family, values)) if known else None

    def close(self) -> None:
        """On a thread in the same namespace. Nothing of it stays."""
        self.socket.close()
        with contextlib.suppress(FailedPrecondition):
            nft.run(_removal(self._name))


def _messages(data: bytes) -> Iterator[tuple[int, dict[int, bytes]]]:
    offset = 0
    while offset + 20 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        if kind == _TRACE_MESSAGE:
            yield data[offset + 16], attributes(data[offset : offset + length], 20)
        offset += (max(length, 16) + 3) & ~3


def _ends(header: bytes) -> tuple[str, str] | None:
    """Source and target of an IP header."""
    if len(header) >= 20 and header[0] >> 4 == 4:
        return socket.inet_ntoa(header[12:16]), socket.inet_ntoa(header[16:20])
    if len(header) >= 40 and header[0] >> 4 == 6:
        ends = header[8:24], header[24:40]
        return socket.inet_ntop(socket.AF_INET6, ends[0]), socket.inet_ntop(
            socket.AF_INET6, ends[1]
        )
    return None


def _dropping(family: int, values: dict[int, bytes]) -> str:
    """`family table chain handle` of the rule, or of the policy, that drops; else empty."""
    kind = int.from_bytes(values.get(_TYPE, b""), "big")
    if kind == _IS_RULE:
        verdict = attributes(values.get(_VERDICT, b""), 0).get(_CODE)
    elif kind == _IS_POLICY:
        verdict = values.get(_POLICY)
    else:
        return ""
    if verdict is None or int.from_bytes(verdict, "big") != _DROP:
        return ""
    handle = int.from_bytes(values.get(_HANDLE, b""), "big") if kind == _IS_RULE else 0
    words = [values.get(key, b"").rstrip(b"\0").decode() for key in (_CHAIN_TABLE, _CHAIN)]
    return f"{_FAMILIES.get(family, 'inet')} {words[0]} {words[1]} {handle}"


def words_of(dropped: str) -> str:
    """A rule as a user finds it, of what `Seen.dropped` says; of the calling thread's namespace."""
    family, name, chain, handle = dropped.split(" ")
    where = f"table {family} {name}, chain {chain}"
    if handle == "0":
        return f"dropped by the policy of {where}"
    with contextlib.suppress(FailedPrecondition):
        listed = nft.ask(f"list chain {family} {name} {chain}", handles=True)
        for line in listed.splitlines():
            rule, found, number = line.rpartition(" # handle ")
            if found and number.strip() == handle:
                return f"dropped by a rule of {where}: {rule.strip()}"
    return f"dropped by a rule of {where}"
