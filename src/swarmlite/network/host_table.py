"""The nftables of the host's namespace: egress, published ports, and what containers may not reach.

Pure. A published port's connection is sent to a task's ingress address with the client's address
kept. A task on another host is reached over the ingress network; that host marks the connection
with the node that it came from, and what the task answers carries the mark back to it: the route
of `ingress` leads it onto the ingress network, where the mark's MAC address is written in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from swarmlite.network import ipv6
from swarmlite.network.load_balancer import chain_name, in_turn
from swarmlite.network.netlink import mac_text
from swarmlite.network.ruleset import Members, Table
from swarmlite.network.view import View, host_of
from swarmlite.proto.types_pb2 import PortConfig

EGRESS, INGRESS = "swarmlite0", "swarmlite-in"
MARK, MARK_MASK = 0x50000000, 0xF0000000
MASQUERADED = 0x60000000
"""Of connections whose task is to see a node's address in the place of the client's."""
FORWARDER_MARK = 0x0000534C
"""Of what the node's own resolver sends: it is for the host's resolver, never for the mesh."""
METADATA4 = ("169.254.0.0/16", "168.63.129.16", "100.100.100.200")
METADATA6 = ("fd00:ec2::254", "fd20:ce::254")
"""Where clouds tell a host about itself, its credentials among that: link-local addresses, and
those of Azure and Alibaba; by IPv6 Amazon's and Google's. Names are asked for there too."""
PROTOCOLS = {PortConfig.TCP: "tcp", PortConfig.UDP: "udp", PortConfig.SCTP: "sctp"}

# Each packet between nodes meets the sets that have a size: with one, the kernel takes a table for
# them that costs half as much as the one that grows. One more than it holds fails the whole load.
_SKELETON = """
  set peers { type ipv4_addr; size 16384; }
  set nodes { type ipv4_addr; }
  set sources { type ether_addr . ipv4_addr; }
  set local_tasks { type ipv4_addr; }
  set containers { type ifname; }
  set inside { type ifname; size 65536; }
  set published { type inet_proto . inet_service; }
  map balance { type inet_proto . inet_service : verdict; }
  map balance_at { type ipv4_addr . inet_proto . inet_service : verdict; }
  map peer_marks { type ether_addr : mark; }
  chain bridges { }
  chain bridge_sources { }

  chain early {
    type filter hook prerouting priority -300; policy accept;
    udp dport %(vxlan)d ip daddr %(data_path)s notrack accept
    iifname @inside goto early_inside
  }
  chain early_inside {
    ip daddr 127.0.0.0/8 drop
    iifname "%(egress)s" ether saddr . ip saddr != @sources drop
  }
  chain tunnelling {
    type filter hook output priority -300; policy accept;
    udp dport %(vxlan)d ip saddr %(data_path)s notrack
  }
  chain marking {
    type filter hook prerouting priority -150; policy accept;
    iifname "%(ingress)s" goto entering
    iifname "%(egress)s" ct mark & %(mask)#x == %(mark)#x ct direction reply meta mark set ct mark
  }
  chain entering {
    ct state new ct mark set ether saddr map @peer_marks
    ct mark & %(mask)#x == %(mark)#x ct direction original meta mark set ct mark
  }
  chain arriving {
    type nat hook prerouting priority -100; policy accept;
    iifname "%(ingress)s" return
    fib daddr type local goto publish
  }
  chain sending {
    type nat hook output priority -100; policy accept;
    meta mark %(forwarder)#x return
    fib daddr type local goto publish
  }
  chain publish {
    ip daddr . meta l4proto . th dport vmap @balance_at
    %(foreign_loopback)s return
    meta l4proto . th dport vmap @balance
  }
  chain leaving {
    type nat hook postrouting priority 100; policy accept;
    ct mark & %(mask)#x == %(masqueraded)#x ct status dnat masquerade
    oifname { "%(egress)s", "%(ingress)s" } ip saddr 127.0.0.0/8 masquerade
    oifname @containers ip saddr 127.0.0.0/8 masquerade
    oifname "%(ingress)s" ip saddr @nodes ct status dnat masquerade
    ip saddr %(subnet)s goto leaving_container
    ip saddr @local_tasks goto leaving_container
    jump bridge_sources
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
    udp dport %(vxlan)d goto tunnel
    iifname @inside goto from_inside
    meta mark %(forwarder)#x accept
    %(foreign_loopback)s accept
    meta l4proto . th dport @published ct state new ct status & dnat != dnat goto refuse
  }
  chain tunnel {
    iifname @inside drop
    ip saddr @peers accept
    fib daddr type local drop
  }
  chain from_inside {
    iifname != "%(ingress)s" goto from_container
    icmp type echo-request limit rate 50/second accept
    ct state != { established, related } drop
  }
  chain from_container {
    tcp dport { %(control)s } reject with tcp reset
    meta l4proto . th dport @published ct state new ct status & dnat != dnat goto refuse
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    ct state established,related accept
    iifname "%(egress)s" ip daddr %(metadata4)s tcp dport != 53 goto refuse
    iifname "%(egress)s" jump to_nodes
    iifname @containers jump to_nodes
    oifname "%(egress)s" jump to_container
    iifname "%(ingress)s" oifname != "%(egress)s" drop
    oifname "%(ingress)s" ct status & dnat != dnat drop
    jump bridges
  }
  chain to_nodes {
    udp dport %(vxlan)d drop
    ip daddr @nodes tcp dport { %(control)s } reject with tcp reset
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

_SKELETON6 = """
  set nodes { type ipv6_addr; }
  set sources { type ether_addr . ipv6_addr; }
  set local_tasks { type ipv6_addr; }
  set containers { type ifname; }
  set inside { type ifname; size 65536; }
  set published { type inet_proto . inet_service; }
  map balance { type inet_proto . inet_service : verdict; }
  map balance_at { type ipv6_addr . inet_proto . inet_service : verdict; }
  map peer_marks { type ether_addr : mark; }
  chain bridges { }
  chain bridge_sources { }

  chain early {
    type filter hook prerouting priority -300; policy accept;
    iifname @inside goto early_inside
  }
  chain early_inside {
    ip6 daddr ::1 drop
    iifname "%(egress)s" ether saddr . ip6 saddr != @sources drop
  }
  chain marking {
    type filter hook prerouting priority -150; policy accept;
    iifname "%(ingress)s" goto entering
    iifname "%(egress)s" ct mark & %(mask)#x == %(mark)#x ct direction reply meta mark set ct mark
  }
  chain entering {
    ct state new ct mark set ether saddr map @peer_marks
    ct mark & %(mask)#x == %(mark)#x ct direction original meta mark set ct mark
  }
  chain arriving {
    type nat hook prerouting priority -100; policy accept;
    iifname "%(ingress)s" return
    fib daddr type local goto publish
  }
  chain sending {
    type nat hook output priority -100; policy accept;
    meta mark %(forwarder)#x return
    ip6 daddr ::1 return
    fib daddr type local goto publish
  }
  chain publish {
    ip6 daddr . meta l4proto . th dport vmap @balance_at
    meta l4proto . th dport vmap @balance
  }
  chain leaving {
    type nat hook postrouting priority 100; policy accept;
    ct mark & %(mask)#x == %(masqueraded)#x ct status dnat masquerade
    oifname "%(ingress)s" ip6 saddr @nodes ct status dnat masquerade
    ip6 saddr %(subnet)s goto leaving_container
    ip6 saddr @local_tasks goto leaving_container
    jump bridge_sources
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
    iifname @inside goto from_inside
    meta mark %(forwarder)#x accept
    meta l4proto . th dport @published ct state new ct status & dnat != dnat goto refuse
  }
  chain from_inside {
    iifname != "%(ingress)s" goto from_container
    ct state != { established, related } drop
  }
  chain from_container {
    udp dport %(vxlan)d drop
    tcp dport { %(control)s } reject with tcp reset
    meta l4proto . th dport @published ct state new ct status & dnat != dnat goto refuse
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    ct state established,related accept
    iifname "%(egress)s" ip6 daddr %(metadata6)s tcp dport != 53 goto refuse
    iifname "%(egress)s" jump to_nodes
    iifname @containers jump to_nodes
    oifname "%(egress)s" jump to_container
    iifname "%(ingress)s" oifname != "%(egress)s" drop
    oifname "%(ingress)s" ct status & dnat != dnat drop
    jump bridges
  }
  chain to_nodes {
    ip6 daddr @nodes tcp dport { %(control)s } reject with tcp reset
  }
  chain to_container {
    ct status & dnat == dnat return
    iifname "%(ingress)s" ip6 daddr @local_tasks return
    drop
  }
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject with icmpv6 type port-unreachable
  }
"""


def table(
    subnet: ipaddress.IPv4Network,
    vxlan_port: int,
    control_ports: Sequence[int],
    data_path_addr: str,
) -> Table:
    """The host's table for an egress subnet.

    What goes between nodes in tunnels is not tracked: each of their streams would have an entry,
    and each packet be looked up, for nothing.
    """
    values = _values(subnet, vxlan_port, control_ports) | {"data_path": data_path_addr}
    # The mesh leaves alone what listens on a loopback address of its own, as a host's resolver.
    values["foreign_loopback"] = "ip daddr != 127.0.0.1 ip daddr 127.0.0.0/8"
    return Table("ip swarmlite", _SKELETON % values)


def table6(subnet: ipaddress.IPv6Network, vxlan_port: int, control_ports: Sequence[int]) -> Table:
    """The host's table of IPv6."""
    return Table("ip6 swarmlite", _SKELETON6 % _values(subnet, vxlan_port, control_ports))


def _values(
    subnet: ipaddress.IPv4Network | ipaddress.IPv6Network,
    vxlan_port: int,
    control_ports: Sequence[int],
) -> dict[str, object]:
    return {
        "subnet": subnet,
        "vxlan": vxlan_port,
        "control": ", ".join(str(port) for port in control_ports),
        "metadata4": f"{{ {', '.join(METADATA4)} }}",
        "metadata6": f"{{ {', '.join(METADATA6)} }}",
        "egress": EGRESS,
        "ingress": INGRESS,
        "mark": MARK,
        "mask": MARK_MASK,
        "masqueraded": MASQUERADED,
        "forwarder": FORWARDER_MARK,
    }


@dataclass(frozen=True)
class BridgeRule:
    """One of the host's own bridges, as the tables see it."""

    interface: str
    subnet: str
    subnet6: str = ""
    internal: bool = False
    icc: bool = True
    masquerade: bool = True

    def forwarding(self) -> list[str]:
        """What is forwarded from and to it; the same for IPv4 and IPv6."""
        own = f'"{self.interface}"'
        lines = []
        if self.internal:
            lines += [
                f"iifname {own} oifname != {own} drop",
                f"oifname {own} iifname != {own} drop",
            ]
        if self.icc:
            lines.append(f"iifname {own} oifname {own} accept")
        return [*lines, f"oifname {own} ct status & dnat != dnat drop"]

    def leaving(self, family: str) -> list[str]:
        """What becomes of its containers' addresses; `family`: ip or ip6."""
        subnet = self.subnet if family == "ip" else self.subnet6
        if not subnet:
            return []
        # A container that asks its own host for a published port is answered by the host.
        lines = [f"{family} saddr {subnet} ct status dnat masquerade"]
        if self.masquerade:
            own = f'{{ "lo", "{self.interface}" }}'
            lines.append(f"{family} saddr {subnet} oifname != {own} masquerade")
        return lines


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
    """What the host's tables are made from, beside the view."""

    peers: frozenset[str] = frozenset()
    """The nodes' data path addresses."""
    nodes: frozenset[str] = frozenset()
    """All addresses of the nodes, of both families."""
    sources: frozenset[str] = frozenset()
    sources6: frozenset[str] = frozenset()
    local_tasks: frozenset[str] = frozenset()
    host_ports: Mapping[str, Sequence[HostPort]] = field(default_factory=dict)
    """By sandbox."""
    peer_marks: Mapping[bytes, int] = field(default_factory=dict)
    bridges: Sequence[BridgeRule] = ()
    start: int = 0


Targets = dict[tuple[str, int], frozenset[str]]


def members(
    view: View, state: HostState, without: Collection[str] = ()
) -> tuple[Members, Members, Targets]:
    """The changing parts of both tables, and who answers which port.

    `without`: owners (see `owners`) whose published ports are left out.
    """
    found = Members(
        sets={
            "peers": state.peers,
            "nodes": state.peers | {a for a in state.nodes if ":" not in a},
            "sources": state.sources,
            "local_tasks": state.local_tasks,
            "containers": (containers := _names(b.interface for b in state.bridges)),
            "inside": containers | _INSIDE,
        },
        maps={
            "balance": {},
            "balance_at": {},
            "peer_marks": {mac_text(m): f"{v:#x}" for m, v in state.peer_marks.items()},
        },
        chains=_bridge_chains(state.bridges, "ip"),
    )
    found6 = Members(
        sets={
            "nodes": frozenset(a for a in state.nodes if ":" in a),
            "sources": state.sources6,
            "local_tasks": frozenset(map(ipv6.ingress_address, state.local_tasks)),
            "containers": (containers := _names(b.interface for b in state.bridges if b.subnet6)),
            "inside": containers | _INSIDE,
        },
        maps={"balance": {}, "balance_at": {}, "peer_marks": found.maps["peer_marks"]},
        chains=_bridge_chains([b for b in state.bridges if b.subnet6], "ip6"),
    )
    published: set[str] = set()
    published6: set[str] = set()
    targets: Targets = {}

    def publish(
        protocol: str, port: int, host_ip: str, to: list[tuple[str, int]], *, hide: bool = False
    ) -> None:
        four = [target for target in to if ":" not in target[0]]
        six = [target for target in to if ":" in target[0]]
        if four or ":" not in host_ip:
            published.update(_publish(found, host_ip, protocol, port, four, state.start, hide))
        if six or ":" in host_ip or not (to or "." in host_ip):
            published6.update(_publish(found6, host_ip, protocol, port, six, state.start, hide))
        key = (protocol, port)
        targets[key] = targets.get(key, frozenset()) | {address for address, _ in to}

    for owner, port, backends in _ingress(view):
        if owner not in without:
            protocol, hide = PROTOCOLS[port.protocol], port.source == PortConfig.MASQUERADE
            publish(protocol, port.published_port, port.host_ip, backends, hide=hide)
    for sandbox_id, ports in state.host_ports.items():
        if f"{SANDBOX}{sandbox_id}" in without:
            continue
        for item in _merged(ports):
            publish(item[0], item[1], item[2], ports_targets(ports, item))
    found.sets["published"] = frozenset(published)
    found6.sets["published"] = frozenset(published6)
    return found, found6, targets


def _names(interfaces: Iterable[str]) -> frozenset[str]:
    return frozenset(f'"{name}"' for name in interfaces)


_INSIDE = _names((EGRESS, INGRESS))
"""With the bridges, all that containers' packets arrive by."""


def _merged(ports: Sequence[HostPort]) -> list[tuple[str, int, str]]:
    return list(dict.fromkeys((p.protocol, p.published, p.host_ip) for p in ports))


def ports_targets(ports: Sequence[HostPort], key: tuple[str, int, str]) -> list[tuple[str, int]]:
    """Where one published port of a sandbox leads, IPv4 and IPv6."""
    return [(p.target, p.target_port) for p in ports if (p.protocol, p.published, p.host_ip) == key]


SERVICE, SANDBOX = "service/", "sandbox/"


def owners(view: View, host_ports: Mapping[str, Sequence[HostPort]]) -> dict[str, bytes]:
    """Who has published ports, and a fingerprint of them."""
    found = {}
    for service in view.services.values():
        if service.ingress_ports:
            prints = b"".join(port.SerializeToString() for port in service.ingress_ports)
            found[f"{SERVICE}{service.id}"] = prints
    for sandbox_id, ports in host_ports.items():
        if ports:
            found[f"{SANDBOX}{sandbox_id}"] = repr(ports).encode()
    return found


def _bridge_chains(bridges: Sequence[BridgeRule], family: str) -> dict[str, str]:
    return {
        "bridges": "\n".join(line for b in bridges for line in b.forwarding()),
        "bridge_sources": "\n".join(line for b in bridges for line in b.leaving(family)),
    }


def _ingress(view: View) -> Iterable[tuple[str, PortConfig, list[tuple[str, int]]]]:
    network = view.ingress()
    if network is None:
        return
    for service in sorted(view.services.values(), key=lambda s: s.id):
        for port in service.ingress_ports:
            targets = [
                (address, port.target_port)
                for backend in view.backends(network.id, service.id)
                for address in (backend, ipv6.ingress_address(backend))
                if not port.host_ip or (":" in port.host_ip) == (":" in address)
            ]
            yield f"{SERVICE}{service.id}", port, targets


def _publish(
    found: Members,
    host_ip: str,
    protocol: str,
    port: int,
    targets: list[tuple[str, int]],
    start: int,
    hide: bool = False,
) -> set[str]:
    chain = chain_name(host_ip, protocol, str(port))
    suffix = f":{targets[0][1]}" if targets else ""
    rule = in_turn([address for address, _ in targets], suffix, start=start)
    mark = f"ct mark set {MASQUERADED:#x}\n" if hide and rule else ""
    found.chains[chain] = f"{mark}meta l4proto {protocol} {rule}" if rule else ""
    key = f"{protocol} . {port}"
    if host_ip in ("", "0.0.0.0", "::"):
        found.maps["balance"][key] = f"goto {chain}"
        return {key}
    found.maps["balance_at"][f"{host_of(host_ip)} . {key}"] = f"goto {chain}"
    return set()
