"""The rules of a sandbox: its VIPs, each with a chain that hands out backends, and its resolver.

Pure.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence

from swarmlite.network.ruleset import Members, Table
from swarmlite.network.view import View, host_of

# Balancing in the sandbox keeps the source address and needs no hop through the host. What is
# still addressed to a VIP after it has no backend: refused at once, rather than a silent wait.
TABLE = Table(
    "ip swarmlite",
    """
  set vips { type ipv4_addr; }
  chain resolver { }
  chain names {
    type filter hook output priority -300; policy accept;
    ip daddr 127.0.0.11 goto resolver
    ip saddr 127.0.0.11 goto resolver
  }
  map balance { type ipv4_addr : verdict; }
  chain output {
    type nat hook output priority -100; policy accept;
    ip daddr vmap @balance
  }
  chain unbalanced {
    type filter hook output priority 0; policy accept;
    ip daddr @vips goto refuse
  }
  chain refuse {
    ip protocol tcp reject with tcp reset
    reject with icmp type port-unreachable
  }
""",
)


@functools.lru_cache(maxsize=65536)
def chain_name(*parts: str) -> str:
    """A chain's name from what it stands for."""
    return "s" + hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def in_turn(backends: Sequence[str], suffix: str = "", *, start: int = 0) -> str:
    """The rule that sends each new connection to the next of `backends`, from `start` on."""
    count = len(backends)
    if not count:
        return ""
    if count == 1:
        return f"dnat to {backends[0]}{suffix}"
    turn = start % count
    ordered = [*backends[turn:], *backends[:turn]]
    choices = ", ".join(f"{n} : {address}" for n, address in enumerate(ordered))
    return f"dnat ip to numgen inc mod {count} map {{ {choices} }}{suffix}"


def spread(key: str) -> int:
    """Where a sandbox or node starts its turns, so that not all begin at the same backend."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")


def vips(view: View, networks: Iterable[str]) -> dict[str, Sequence[str]]:
    """VIP to backends, of all services on `networks`."""
    found: dict[str, Sequence[str]] = {}
    for network_id in networks:
        if view.is_ingress(network_id):
            continue
        for service in view.services_on(network_id):
            for vip in service.vips:
                if vip.network_id == network_id and vip.addr:
                    found[host_of(vip.addr)] = view.backends(network_id, service.id)
    return found


def resolver_rules(udp: int, tcp: int) -> str:
    """The rules that make the resolver's sockets, on ports of their own, answer on port 53.

    So a container may still serve names on port 53 of all its addresses. Without connection
    tracking: at a resolver's rates it would cost more than the answer.
    """
    return "\n".join(
        line
        for protocol, port in (("udp", udp), ("tcp", tcp))
        for line in (
            f"ip daddr 127.0.0.11 {protocol} dport 53 {protocol} dport set {port} notrack",
            f"ip saddr 127.0.0.11 {protocol} sport {port} {protocol} sport set 53 notrack",
        )
    )


def members(balanced: Mapping[str, Sequence[str]], start: int, ports: tuple[int, int]) -> Members:
    """The changing part of the table for `vips(...)` and the resolver's UDP and TCP ports."""
    chains = {chain_name(vip): in_turn(b, start=start) for vip, b in balanced.items()}
    chains["resolver"] = resolver_rules(*ports)
    return Members(
        sets={"vips": frozenset(balanced)},
        maps={"balance": {vip: f"goto {chain_name(vip)}" for vip in balanced}},
        chains=chains,
    )
