"""Beside Docker's engine on one host: it forwards nothing that it does not know of.

Its tables drop what is forwarded unless it is its own, and a drop of any table is final: what ours
accept would not get through. It leaves one chain to others, DOCKER-USER. There what goes from or
to our interfaces is accepted, by a chain of our own that it jumps to; what of it may pass is still
our tables' to say. Nothing else of another's rules is touched. Source: docs.docker.com, "Packet
filtering and firewalls".
"""

from __future__ import annotations

import re
from collections.abc import Collection

from swarmlite.errors import FailedPrecondition
from swarmlite.network import nft

CHAIN = "SWARMLITE"
_OTHERS = "DOCKER-USER"
_ACCEPTED = re.compile(r'[io]ifname "([^"]+)" accept')
_FAMILIES = ("ip", "ip6")


def admit(interfaces: Collection[str]) -> bool:
    """Have Docker let our interfaces' packets by, where it is; whether that changed anything.

    Raises FailedPrecondition when the kernel refuses.
    """
    changed = [_admit(family, set(interfaces)) for family in _FAMILIES]
    return any(changed)


def _admit(family: str, interfaces: set[str]) -> bool:
    others = _listed(family, _OTHERS)
    if others is None:
        return False
    jumped = f"jump {CHAIN}" in others
    own = _listed(family, CHAIN) or ""
    if jumped and set(_ACCEPTED.findall(own)) == interfaces:
        return False
    chain = f"{family} filter {CHAIN}"
    lines = [f"add chain {chain}", f"flush chain {chain}"]
    for name in sorted(interfaces):
        lines += [
            f'add rule {chain} iifname "{name}" accept',
            f'add rule {chain} oifname "{name}" accept',
        ]
    if not jumped:
        lines.append(f"insert rule {family} filter {_OTHERS} jump {CHAIN}")
    nft.run("\n".join(lines) + "\n")
    return True


def _listed(family: str, chain: str) -> str | None:
    """A chain as nft shows it; None where it is not."""
    try:
        return nft.ask(f"list chain {family} filter {chain}")
    except FailedPrecondition:
        return None


def withdraw() -> None:
    """Nothing of ours is left: our chain is emptied, and falls through. Safe without one."""
    for family in _FAMILIES:
        if _listed(family, CHAIN) is not None:
            nft.run(f"flush chain {family} filter {CHAIN}\n")
