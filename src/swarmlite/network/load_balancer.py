"""Which backends are behind which VIP, and the names and rules that hand them out.

Pure.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence

from swarmlite.network.view import View, host_of


@functools.lru_cache(maxsize=65536)
def chain_name(*parts: str) -> str:
    """A chain's name from what it stands for."""
    return "s" + hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def in_turn(backends: Sequence[str], suffix: str = "", *, start: int = 0) -> str:
    """The rule that sends each new connection to the next of `backends`, from `start` on."""
    count = len(backends)
    if not count:
        return ""
    six = ":" in backends[0]
    if count == 1:
        return f"dnat to {f'[{backends[0]}]' if six else backends[0]}{suffix}"
    turn = start % count
    ordered = [*backends[turn:], *backends[:turn]]
    choices = ", ".join(f"{n} : {address}" for n, address in enumerate(ordered))
    return f"dnat {'ip6' if six else 'ip'} to numgen inc mod {count} map {{ {choices} }}{suffix}"


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
                    six = ":" in vip.addr
                    found[host_of(vip.addr)] = view.backends(network_id, service.id, six=six)
    return found
