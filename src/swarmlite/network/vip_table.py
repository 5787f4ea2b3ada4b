"""A sandbox's table in the kernel: its VIPs, each with a chain that hands out backends, and the
rules of its resolver. Pure: what is desired as messages of one transaction.

It has a name of its own: a container may be a host itself, with a host's tables of ours beside it.

Balancing in the sandbox keeps the source address and needs no hop through the host. What is still
addressed to a VIP after it has no backend: refused at once, rather than a silent wait. As nft says
it:

    table ip swarmlite-sandbox {
      chain names { type filter hook output priority -300;
        ip daddr 127.0.0.11 goto resolver
        ip saddr 127.0.0.11 goto resolver }
      chain output { type nat hook output priority -100; ip daddr vmap @balance }
      chain unbalanced { type filter hook output priority 0;
        ct state != established ip daddr @vips goto refuse }
      chain refuse { ip protocol tcp reject with tcp reset; reject with icmp port-unreachable }
    }
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarmlite.network import netns
from swarmlite.network.load_balancer import chain_name
from swarmlite.network.netlink import Message, netfilter
from swarmlite.network.netlink.netfilter import (
    DESTINATION_ADDRESS,
    DESTINATION_PORT,
    NETWORK,
    SOURCE_ADDRESS,
    SOURCE_PORT,
    TRANSPORT,
)

Vips = Mapping[str, Sequence[str]]
"""VIP to backends."""

RESOLVER = "127.0.0.11"
_VIPS, _BALANCE, _FIRST = 1, 2, 3
_VIPS6, _BALANCE6, _FIRST6 = (1 << 24) + 1, (1 << 24) + 2, (1 << 24) + 3
NAME = "swarmlite-sandbox"
_TABLE = netfilter.Packer(NAME)
_TABLE6 = netfilter.Packer(NAME, socket.AF_INET6)
_OLDER = netfilter.Packer("swarmlite"), netfilter.Packer("swarmlite", socket.AF_INET6)


def load(vips: Vips, *, start: int, ports: tuple[int, int], fresh: bool = False) -> list[Message]:
    """The transaction that makes the whole table, whatever was there; `fresh`: nothing was.

    `start`: where turns among backends begin. `ports`: the resolver's, UDP and TCP.
    """
    before = [] if fresh else [_TABLE.table(), _TABLE.delete_table()]
    if not fresh and netns.has_ipv6():
        before += [_TABLE6.table(), _TABLE6.delete_table()]
    return [*before, *_skeleton(), *_resolver(*ports), *change({}, vips, start=start)]


def change(old: Vips, wanted: Vips, *, start: int) -> list[Message]:
    """The transaction from `old` to `wanted`; empty when they are the same.

    IPv6 has a table of its own, which is there as long as there are VIPs of it.
    """
    steps = _steps(old, wanted)
    messages = _change(_TABLE, steps.four, start, _FIRST)
    if not steps.has6:
        return [*messages, *([_TABLE6.delete_table()] if steps.had6 else [])]
    made = [] if steps.had6 else _skeleton6()
    return [*messages, *made, *_change(_TABLE6, steps.six, start, _FIRST6)]


def older() -> tuple[list[Message], list[Message]]:
    """Two transactions that take away what releases before named as a host's tables.

    Each is refused where there is no such table, or it is a host's: that has no such chain.
    """
    four, six = _OLDER
    return (
        [four.flush("names"), four.delete_table()],
        [six.flush("unbalanced"), six.delete_table()],
    )


@dataclass(frozen=True)
class _Step:
    """What differs between the VIPs of one family."""

    gone: Sequence[str]
    new: Sequence[str]
    changed: Sequence[tuple[str, Sequence[str]]]
    """With the new ones."""

    @classmethod
    def between(cls, old: Vips, wanted: Vips) -> _Step:
        changed = [item for item in wanted.items() if old.get(item[0]) != item[1]]
        return cls(
            [vip for vip in old if vip not in wanted],
            [vip for vip, _ in changed if vip not in old],
            changed,
        )


@dataclass(frozen=True)
class _Steps:
    """From one state of all VIPs, which nobody changes, to another."""

    old: Vips
    wanted: Vips
    four: _Step
    six: _Step
    had6: bool
    has6: bool


_last: _Steps | None = None


def _steps(old: Vips, wanted: Vips) -> _Steps:
    """All sandboxes on the same networks take the same step: it is looked for once."""
    global _last
    known = _last
    if known is None or known.old is not old or known.wanted is not wanted:
        (old4, old6), (wanted4, wanted6) = _apart(old), _apart(wanted)
        four, six = _Step.between(old4, wanted4), _Step.between(old6, wanted6)
        _last = known = _Steps(old, wanted, four, six, bool(old6), bool(wanted6))
    return known


def _apart(vips: Vips) -> tuple[Vips, Vips]:
    """The VIPs of IPv4, and those of IPv6."""
    six = {vip: backends for vip, backends in vips.items() if ":" in vip}
    if not six:
        return vips, six
    return {vip: backends for vip, backends in vips.items() if vip not in six}, six


def _change(table: netfilter.Packer, step: _Step, start: int, number: int) -> list[Message]:
    gone, new = step.gone, set(step.new)
    messages = [*table.remove("balance", gone), *table.remove("vips", gone)]
    for vip, backends in step.changed:
        chain = chain_name(vip)
        messages.append(table.chain(chain) if vip in new else table.flush(chain))
        messages += _in_turn(table, chain, backends, start, number)
        number += 1
    for vip in gone:
        chain = chain_name(vip)
        messages += [table.flush(chain), table.delete_chain(chain)]
    messages += table.add_gotos("balance", ((vip, chain_name(vip)) for vip in step.new))
    return [*messages, *table.add_addresses("vips", step.new)]


def _in_turn(
    table: netfilter.Packer, chain: str, backends: Sequence[str], start: int, number: int
) -> list[Message]:
    """The rule that sends each new connection to the next of `backends`, from `start` on."""
    count = len(backends)
    if not count:
        return []
    if count == 1:
        return [table.rule(chain, netfilter.redirected(backends[0]))]
    turn = start % count
    ordered = [*backends[turn:], *backends[:turn]]
    family = socket.AF_INET6 if table is _TABLE6 else socket.AF_INET
    rule = table.rule(chain, netfilter.redirected_in_turn(count, number, family))
    return [*table.numbered(number, ordered), rule]


@functools.cache
def _skeleton() -> tuple[Message, ...]:
    """What every sandbox's table has."""
    to, of = (netfilter.field(NETWORK, place) for place in (DESTINATION_ADDRESS, SOURCE_ADDRESS))
    own = netfilter.equals(socket.inet_aton(RESOLVER))
    is_tcp = netfilter.field(NETWORK, netfilter.PROTOCOL) + netfilter.equals(
        bytes([socket.IPPROTO_TCP])
    )
    table, filter_, nat = _TABLE, netfilter.FILTER, netfilter.NAT
    return (
        table.table(),
        table.chain("resolver"),
        table.base_chain("names", filter_, netfilter.OUTPUT, -300),
        table.base_chain("output", nat, netfilter.OUTPUT, -100),
        table.base_chain("unbalanced", filter_, netfilter.OUTPUT, 0),
        table.chain("refuse"),
        table.addresses("vips", _VIPS),
        table.verdicts("balance", _BALANCE),
        table.rule("names", to, own, netfilter.goto("resolver")),
        table.rule("names", of, own, netfilter.goto("resolver")),
        table.rule("output", to, netfilter.verdict_of("balance", _BALANCE)),
        # Without any backend no rule would translate, and standing connections to a task that
        # drains would no longer be tracked: they would be refused.
        table.rule(
            "unbalanced",
            netfilter.not_established(),
            to,
            netfilter.in_set("vips", _VIPS),
            netfilter.goto("refuse"),
        ),
        table.rule("refuse", is_tcp, netfilter.refused_by_tcp()),
        table.rule("refuse", netfilter.refused_by_icmp()),
    )


@functools.cache
def _skeleton6() -> tuple[Message, ...]:
    """What the table of IPv6 has: its VIPs only, for the resolver is asked by IPv4."""
    to = netfilter.field(NETWORK, netfilter.DESTINATION_ADDRESS6)
    is_tcp = netfilter.protocol() + netfilter.equals(bytes([socket.IPPROTO_TCP]))
    table = _TABLE6
    return (
        table.table(),
        table.base_chain("output", netfilter.NAT, netfilter.OUTPUT, -100),
        table.base_chain("unbalanced", netfilter.FILTER, netfilter.OUTPUT, 0),
        table.chain("refuse"),
        table.addresses("vips", _VIPS6),
        table.verdicts("balance", _BALANCE6),
        table.rule("output", to, netfilter.verdict_of("balance", _BALANCE6)),
        table.rule(
            "unbalanced",
            netfilter.not_established(),
            to,
            netfilter.in_set("vips", _VIPS6),
            netfilter.goto("refuse"),
        ),
        table.rule("refuse", is_tcp, netfilter.refused_by_tcp()),
        table.rule("refuse", netfilter.refused_by_icmp(six=True)),
    )


def _resolver(udp: int, tcp: int) -> list[Message]:
    """The rules that make the resolver's sockets, on ports of their own, answer on port 53.

    So a container may still serve names on port 53 of all its addresses. Without connection
    tracking: at a resolver's rates it would cost more than the answer.
    """
    return [
        (kind, flags, body.replace(_SOME_PORT, port.to_bytes(2, "big")))
        for protocol, port in ((socket.IPPROTO_UDP, udp), (socket.IPPROTO_TCP, tcp))
        for kind, flags, body in _led_to_some_port(protocol)
    ]


_SOME_PORT = b"\xa5\x5a"
"""In place of a resolver's port, which is all that differs from sandbox to sandbox."""


@functools.cache
def _led_to_some_port(protocol: int) -> tuple[Message, ...]:
    rules = []
    some = int.from_bytes(_SOME_PORT, "big")
    for address, place, seen, written in (
        (DESTINATION_ADDRESS, DESTINATION_PORT, 53, some),
        (SOURCE_ADDRESS, SOURCE_PORT, some, 53),
    ):
        rule = _TABLE.rule(
            "resolver",
            netfilter.field(NETWORK, address),
            netfilter.equals(socket.inet_aton(RESOLVER)),
            netfilter.protocol(),
            netfilter.equals(bytes([protocol])),
            netfilter.field(TRANSPORT, place),
            netfilter.equals(seen.to_bytes(2, "big")),
            netfilter.write_port(place, protocol, written),
            netfilter.untracked(),
        )
        assert rule[2].count(_SOME_PORT) == 1
        rules.append(rule)
    return tuple(rules)
