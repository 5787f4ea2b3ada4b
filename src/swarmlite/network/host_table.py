"""The nftables of the host's namespace: egress, published ports, and what containers may not reach.

Pure. A published port's connection is sent to a task's ingress address with the client's address
kept. A task on another host is reached over the ingress network; that host marks the connection
with the node that it came from, and what the task answers carries the mark back to it: the route
of `ingress` leads it onto the ingress network, where the mark's MAC address is written in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from swarmlite.network.load_balancer import chain_name, in_turn
from swarmlite.network.netlink import mac_text
from swarmlite.network.ruleset import Members, Table
from swarmlite.network.view import View, host_of
from swarmlite.proto.types_pb2 import PortConfig

EGRESS, INGRESS = "swarmlite0", "swarmlite-in"
MARK, MARK_MASK = 0x50000000, 0xF0000000
PROTOCOLS = {PortConfig.TCP: "tcp", PortConfig.UDP: "udp", PortConfig.SCTP: "sctp"}

_SKELETON = """
  set peers { type ipv4_addr; }
  set sources { type ether_addr . ipv4_addr; }
  set local_tasks { type ipv4_addr; }
  set published { type inet_proto . inet_service; }
  map balance { type inet_proto . inet_service : verdict; }
  map balance_at { type ipv4_addr . inet_proto . inet_service : verdict; }
  map peer_marks { type ether_addr : mark; }

  chain early {
    type filter hook prerouting priority -300; policy accept;
    udp dport %(vxlan)d fib daddr type local ip saddr != @peers drop
    iifname { "%(egress)s", "%(ingress)s" } ip daddr 127.0.0.0/8 drop
    iifname "%(egress)s" ether saddr . ip saddr != @sources drop
  }
  chain marking {
    type filter hook prerouting priority -150; policy accept;
    iifname "%(ingress)s" ct state new ct mark set ether saddr map @peer_marks
    ct mark & %(mask)#x != %(mark)#x return
    iifname "%(ingress)s" ct direction original meta mark set ct mark
    iifname "%(egress)s" ct direction reply meta mark set ct mark
  }
  chain arriving {
    type nat hook prerouting priority -100; policy accept;
    iifname "%(ingress)s" return
    fib daddr type local goto publish
  }
  chain sending {
    type nat hook output priority -100; policy accept;
    fib daddr type local goto publish
  }
  chain publish {
    ip daddr . meta l4proto . th dport vmap @balance_at
    meta l4proto . th dport vmap @balance
  }
  chain leaving {
    type nat hook postrouting priority 100; policy accept;
    oifname { "%(egress)s", "%(ingress)s" } ip saddr 127.0.0.0/8 masquerade
    ip saddr %(subnet)s goto leaving_container
    ip saddr @local_tasks goto leaving_container
  }
  chain leaving_container {
    oifname { "%(egress)s", "%(ingress)s" } ct status dnat masquerade
    oifname != { "lo", "%(egress)s", "%(ingress)s" } masquerade
  }
  chain clamping {
    type filter hook postrouting priority -150; policy accept;
    oifname "%(ingress)s" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
  }
  chain input {
    type filter hook input priority 0; policy accept;
    iifname "%(ingress)s" ct state != { established, related } drop
    iifname "%(egress)s" udp dport %(vxlan)d drop
    iifname "%(egress)s" tcp dport { %(control)s } reject with tcp reset
    meta l4proto . th dport @published ct state new ct status & dnat != dnat goto refuse
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    ct state established,related accept
    iifname "%(egress)s" udp dport %(vxlan)d drop
    iifname "%(egress)s" ip daddr @peers tcp dport { %(control)s } reject with tcp reset
    oifname "%(egress)s" jump to_container
    iifname "%(ingress)s" oifname != "%(egress)s" drop
    oifname "%(ingress)s" ct status & dnat != dnat drop
  }
  chain to_container {
    ct status & dnat == dnat return
    iifname "%(ingress)s" ip daddr @local_tasks return
    drop
  }
  chain refuse {
    ip protocol tcp reject with tcp reset
    reject with icmp type port-unreachable
  }
"""


def table(subnet: ipaddress.IPv4Network, vxlan_port: int, control_ports: Sequence[int]) -> Table:
    """The host's table for an egress subnet."""
    values = {
        "subnet": subnet,
        "vxlan": vxlan_port,
        "control": ", ".join(str(port) for port in control_ports),
        "egress": EGRESS,
        "ingress": INGRESS,
        "mark": MARK,
        "mask": MARK_MASK,
    }
    return Table("ip swarmlite", _SKELETON % values)


@dataclass(frozen=True)
class HostPort:
    """A port of this host that one container answers."""

    protocol: str
    published: int
    host_ip: str
    target: str
    target_port: int


@dataclass(frozen=True)
class HostState:
    """What the host's table is made from, beside the view."""

    peers: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    local_tasks: frozenset[str] = frozenset()
    host_ports: tuple[HostPort, ...] = ()
    peer_marks: Mapping[bytes, int] = field(default_factory=dict)
    start: int = 0


def members(view: View, state: HostState) -> Members:
    """The changing part of the host's table."""
    found = Members(
        sets={
            "peers": state.peers,
            "sources": state.sources,
            "local_tasks": state.local_tasks,
        },
        maps={
            "balance": {},
            "balance_at": {},
            "peer_marks": {mac_text(m): f"{v:#x}" for m, v in state.peer_marks.items()},
        },
    )
    published = set()
    for host_ip, protocol, port, targets in _ingress(view):
        published |= _publish(found, host_ip, protocol, port, targets, state.start)
    for item in state.host_ports:
        target = [(item.target, item.target_port)]
        published |= _publish(found, item.host_ip, item.protocol, item.published, target, 0)
    found.sets["published"] = frozenset(published)
    return found


def _ingress(view: View) -> Iterable[tuple[str, str, int, list[tuple[str, int]]]]:
    network = view.ingress()
    if network is None:
        return
    for service in sorted(view.services.values(), key=lambda s: s.id):
        for port in service.ingress_ports:
            backends = view.backends(network.id, service.id)
            targets = [(address, port.target_port) for address in backends]
            yield port.host_ip, PROTOCOLS[port.protocol], port.published_port, targets


def _publish(
    found: Members,
    host_ip: str,
    protocol: str,
    port: int,
    targets: list[tuple[str, int]],
    start: int,
) -> set[str]:
    chain = chain_name(host_ip, protocol, str(port))
    suffix = f":{targets[0][1]}" if targets else ""
    rule = in_turn([address for address, _ in targets], suffix, start=start)
    found.chains[chain] = f"meta l4proto {protocol} {rule}" if rule else ""
    everywhere = host_ip in ("", "0.0.0.0", "::")
    key = f"{protocol} . {port}"
    if everywhere:
        found.maps["balance"][key] = f"goto {chain}"
        return {key}
    found.maps["balance_at"][f"{host_of(host_ip)} . {key}"] = f"goto {chain}"
    return set()
