"""What firewalld, where it runs on this host, would keep from a node, and the commands against it.

Its own rules are the user's: nothing of them is changed by us. Read as firewalld 1 and 2 write them
to nftables; a host whose firewalld works by iptables is not looked at.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence

INTERFACES = ("swarmlite0", "swarmlite-in", "swarmlite-br")
"""Of the way out, the ingress and the network `bridge`."""
EVERY_NODE = (("tcp", 2378), ("udp", 2383))
MANAGERS = (("tcp", 2377), ("tcp", 2382))
_CHAIN = re.compile(r"^\s*chain (\S+) \{(.*?)^\s*\}", re.MULTILINE | re.DOTALL)
_OPEN = re.compile(r"\b(tcp|udp) dport (\d+)(?:-(\d+))? accept")
_ZONE = re.compile(r'(?:iifname "([^"]+)" )?goto filter_IN_(\S+)')


def look(data_path_port: int, *, manager: bool) -> Iterator[str]:
    """A line for each thing that is to be done; none where there is no firewalld."""
    command = ["nft", "list", "table", "inet", "firewalld"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return
    if shown.returncode == 0:
        ports = [("udp", data_path_port), *EVERY_NODE, *(MANAGERS if manager else ())]
        yield from judge(shown.stdout, ports)


def judge(table: str, ports: Sequence[tuple[str, int]]) -> Iterator[str]:
    """The same of the table as nft lists it."""
    chains = dict(_CHAIN.findall(table))
    zones = _ZONE.findall(chains.get("filter_INPUT_ZONES", ""))
    trusted = {interface for interface, zone in zones if zone == "trusted"}
    if "" in trusted:  # the zone of all that is not named
        return
    if missing := [name for name in INTERFACES if name not in trusted]:
        flags = " ".join(f"--add-interface={name}" for name in missing)
        yield (
            "firewalld rejects what containers send through this host:"
            f" firewall-cmd --permanent --zone=trusted {flags} && firewall-cmd --reload"
        )
    outer = {zone for interface, zone in zones if interface not in INTERFACES} - {"trusted"}
    for zone in sorted(outer):
        found = list(_OPEN.findall(chains.get(f"filter_IN_{zone}_allow", "")))
        if closed := [p for p in ports if not any(_opens(o, p) for o in found)]:
            flags = " ".join(f"--add-port={number}/{protocol}" for protocol, number in closed)
            yield (
                f"firewalld's zone {zone} keeps other nodes away:"
                f" firewall-cmd --permanent --zone={zone} {flags} && firewall-cmd --reload"
            )


def _opens(rule: tuple[str, str, str], port: tuple[str, int]) -> bool:
    protocol, first, last = rule
    return protocol == port[0] and int(first) <= port[1] <= int(last or first)
