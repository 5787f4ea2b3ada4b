"""`swarmlite doctor`: what of this host, and of its way to the others, would hinder a node.

Everything is tried for real and changes nothing. The standard library only, so that it answers on a
host on which nothing else does.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.identity.node import NodeIdentity
from swarmlite.paths import Paths

from . import etcdcmd, etcdprobe, etcdversions, firewalld, hostcheck, overlayplaces, peerclock
from .overlayplaces import INGRESS

FREE_BYTES = 2 * 1024**3
SYNCS = 20
SLOW_SYNC_S = 0.05
"""etcd beats its heart every 50 ms: a disk that syncs slower makes it lose its leader."""
USUAL_MTU = 1500
DATA_PATH_PORT = 4789
_NET = Path("/sys/class/net")
CONNECT_S = 3.0
CLOCKS_S, CLOCKS_WRONG_S = 2.0, 1800.0
"""Two clocks may differ by; certificates begin an hour before they are made."""
_STA_UNSYNC = 0x40
_ADJTIMEX_X86_64 = 159


class Grade(Enum):
    """What a finding is to the node."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, and what is to be done unless it is fine."""

    grade: Grade
    what: str
    line: str


@dataclass(frozen=True)
class Peer:
    """Another node."""

    name: str
    addr: str
    """Of its data path."""
    manager_addr: str
    """HOST:PORT of a manager's API, or empty."""
    image_port: int = 0
    """Where it serves images to other nodes; 0 where that is not known, or not done."""


def host(paths: Paths, node: NodeIdentity | None, etcd_binary: str = "etcd") -> Iterator[Finding]:
    """This host; `node` is what it is in a swarm."""
    missing = hostcheck.check()
    for thing in missing:
        yield Finding(Grade.WRONG if thing.fatal else Grade.WARNING, "kernel and tools", thing.line)
    if not missing:
        yield Finding(Grade.OK, "kernel and tools", "all there")
    yield _clock()
    yield from _disk(paths.state_dir)
    if node is not None and node.external_etcd is not None:
        yield from _external_etcd(paths, node)
    else:
        yield from _etcd(etcd_binary, node)
    yield from _interfaces()
    for line in firewalld.look(
        (node.data_path_port if node else 0) or DATA_PATH_PORT,
        manager=node is None or node.manager,
    ):
        yield Finding(Grade.WARNING, "firewall", line)
    if node is None:
        yield from _ports()


def pairs(
    peers: Sequence[Peer], node: NodeIdentity, netns_dir: Path | None = None
) -> Iterator[Finding]:
    """The ways from here to each of `peers`; through the overlay too, where `netns_dir` is this
    node's and shows one.
    """
    through = overlayplaces.places(netns_dir) if netns_dir is not None else {}
    for peer in peers:
        if peer.manager_addr:
            yield _reached(peer, "manager", peer.manager_addr)
            if node.manager and node.external_etcd is None:
                address = f"{peer.manager_addr.rpartition(':')[0]}:{etcdcmd.PEER_PORT}"
                yield _reached(peer, "etcd", address)
        if peer.image_port:
            host_name = f"[{peer.addr}]" if ":" in peer.addr else peer.addr
            yield _reached(peer, "images", f"{host_name}:{peer.image_port}")
        yield _large_packets(peer)
        if peer.addr in through:
            yield _through_vxlan(peer, through[peer.addr])
        yield _same_time(peer)


def _clock() -> Finding:
    """Whether the kernel says that something keeps the clock right (adjtimex(2))."""
    if os.uname().machine != "x86_64":
        return Finding(Grade.OK, "clock", "not looked at on this architecture")
    import ctypes

    timex = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None, use_errno=True).syscall(_ADJTIMEX_X86_64, timex) < 0:
        return Finding(
            Grade.WARNING, "clock", f"cannot be asked: {os.strerror(ctypes.get_errno())}"
        )
    status = struct.unpack_from("i", timex, 40)[0]
    if status & _STA_UNSYNC:
        line = "nothing keeps it right: run chrony or systemd-timesyncd, certificates have dates"
        return Finding(Grade.WARNING, "clock", line)
    return Finding(Grade.OK, "clock", "kept right")


def _disk(folder: Path) -> Iterator[Finding]:
    place = next(p for p in (folder, *folder.parents) if p.exists())
    usage = shutil.disk_usage(place)
    free = f"{usage.free / 1024**3:.1f} GiB free at {place}"
    grade = Grade.OK if usage.free >= FREE_BYTES else Grade.WARNING
    yield Finding(grade, "disk", free if grade is Grade.OK else f"only {free}: make room")
    try:
        took = sorted(_syncs(place))
    except OSError as error:
        yield Finding(Grade.WRONG, "disk", f"cannot write at {place}: {error.strerror}")
        return
    slow = took[int(0.9 * len(took))]
    line = f"a sync takes {1000 * slow:.1f} ms (nine of ten)"
    if slow > SLOW_SYNC_S:
        line += f": above {1000 * SLOW_SYNC_S:.0f} ms etcd loses its leader; use a faster disk"
        yield Finding(Grade.WARNING, "disk", line)
    else:
        yield Finding(Grade.OK, "disk", line)


def _syncs(place: Path) -> Iterator[float]:
    """How long etcd's kind of write takes, some times."""
    path = place / f".swarmlite-doctor-{os.getpid()}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for _ in range(SYNCS):
            os.write(descriptor, bytes(2300))
            begun = time.monotonic()
            os.fdatasync(descriptor)
            yield time.monotonic() - begun
    finally:
        os.close(descriptor)
        path.unlink()


def _etcd(binary: str, node: NodeIdentity | None) -> Iterator[Finding]:
    wrong = hostcheck.check_etcd(binary)
    if wrong is not None:
        needed = node is not None and node.manager
        yield Finding(Grade.WRONG if needed else Grade.WARNING, "etcd", wrong)
        return
    version = etcdversions.of_binary(binary)
    assert version is not None
    known = etcdversions.known_faults(version)
    if known:
        yield Finding(Grade.WARNING, "etcd", known)  # it works, and is checked for these
    else:
        yield Finding(Grade.OK, "etcd", etcdversions.text(version))


def _external_etcd(paths: Paths, node: NodeIdentity) -> Iterator[Finding]:
    """One that was there before the cluster: each endpoint, by this manager's certificate."""
    assert node.external_etcd is not None
    context = None
    if name := node.external_etcd["server_name"]:
        folder = paths.external_etcd_dir
        try:
            files = [(folder / each).read_bytes() for each in ("ca.crt", "node.crt", "node.key")]
            context = etcdprobe.context_of(*files)
        except (OSError, InvalidSpec) as error:
            yield Finding(Grade.WRONG, "etcd", f"its certificates in {folder}: {error}")
            return
    for address in node.etcd_endpoints:
        try:
            if context is None:
                host_name, _, port = address.rpartition(":")
                socket.create_connection((host_name.strip("[]"), int(port)), CONNECT_S).close()
            elif name not in (known := etcdprobe.names(address, context)):
                line = f"the certificate at {address} is for {', '.join(sorted(known))}, not {name}"
                yield Finding(Grade.WRONG, "etcd", line)
                continue
        except (SwarmliteError, OSError) as error:
            yield Finding(Grade.WRONG, "etcd", str(error))
        else:
            yield Finding(Grade.OK, "etcd", f"{address} takes this manager")


def _interfaces() -> Iterator[Finding]:
    """Smaller packets than usual are seen by containers too: said, for it surprises."""
    for folder in sorted(_NET.iterdir()):
        try:
            physical = (folder / "device").exists() or folder.name.startswith("eth")
            if not physical or (folder / "operstate").read_text().strip() == "down":
                continue
            mtu = int((folder / "mtu").read_text())
        except (OSError, ValueError):
            continue
        if mtu < USUAL_MTU:
            line = f"{folder.name} has an MTU of {mtu}: overlay networks get {mtu - 50}"
            yield Finding(Grade.WARNING, "network", line)
        else:
            yield Finding(Grade.OK, "network", f"{folder.name} has an MTU of {mtu}")


def _ports() -> Iterator[Finding]:
    """Those that a node takes, of a host that is none yet."""
    taken = False
    for kind, port, use in (
        (socket.SOCK_STREAM, 2377, "managers' API"),
        (socket.SOCK_STREAM, etcdcmd.CLIENT_PORT, "managers' etcd"),
        (socket.SOCK_STREAM, etcdcmd.PEER_PORT, "managers' etcd"),
        (socket.SOCK_DGRAM, 4789, "VXLAN"),
    ):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError as error:
                taken = True
                line = f"port {port} ({use}) is not free: {error.strerror}; see ss -lnup, ss -lntp"
                yield Finding(Grade.WARNING, "ports", line)
    if not taken:
        yield Finding(Grade.OK, "ports", "free")


def _reached(peer: Peer, what: str, address: str) -> Finding:
    host_name, _, port = address.rpartition(":")
    try:
        socket.create_connection((host_name.strip("[]"), int(port)), CONNECT_S).close()
    except OSError as error:
        line = (
            f"{peer.name}: {what} at {address} cannot be reached ({error.strerror or error}): does"
            f" a firewall let TCP {port} pass?"
        )
        return Finding(Grade.WRONG, "pair", line)
    return Finding(Grade.OK, "pair", f"{peer.name}: {what} at {address} is reached")


def _large_packets(peer: Peer) -> Finding:
    """A packet as large as the way's interface takes, whole: VXLAN's are not put together again."""
    if shutil.which("ping") is None:
        return Finding(Grade.OK, "pair", f"{peer.name}: not tried for lack of ping")
    mtu = _mtu_towards(peer.addr)
    if _pinged(peer.addr, mtu):
        return Finding(Grade.OK, "pair", f"{peer.name}: packets of {mtu} bytes arrive")
    line = (
        f"{peer.name}: packets of {mtu} bytes do not come back from {peer.addr}: a smaller MTU on"
        " the way (create networks with -o com.docker.network.driver.mtu), or a firewall against"
        " ICMP"
    )
    return Finding(Grade.WARNING, "pair", line)


def _through_vxlan(peer: Peer, address: str) -> Finding:
    """A packet of the overlay's full size, to the peer's own address on it and back."""
    if shutil.which("ping") is None:
        return Finding(Grade.OK, "pair", f"{peer.name}: VXLAN not tried for lack of ping")
    mtu = _mtu_of(INGRESS)
    whole, small = (_pinged(address, size, INGRESS) for size in (mtu, 64))
    if whole:
        return Finding(Grade.OK, "pair", f"{peer.name}: VXLAN packets of {mtu} bytes arrive")
    if small:
        line = (
            f"{peer.name}: small VXLAN packets arrive, those of {mtu} bytes do not: a smaller MTU"
            " on the way (create networks with -o com.docker.network.driver.mtu)"
        )
    else:
        line = (
            f"{peer.name}: no VXLAN packet comes back from {peer.addr}: does a firewall let UDP"
            " 4789 (swarm init --data-path-port) pass, both ways?"
        )
    return Finding(Grade.WRONG, "pair", line)


def _pinged(addr: str, size: int, device: str = "") -> bool:
    """Whether an answer of a packet of `size` bytes, headers included, that is not to be parted."""
    through = ("-I", device) if device else ()
    command = ["ping", "-n", "-q", "-c", "2", "-W", "2", "-M", "do", *through]
    command += ["-s", str(size - 28), addr]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


def _same_time(peer: Peer, now: Callable[[], float] = time.time) -> Finding:
    """Certificates have dates, and delays are counted from times that another host wrote."""
    try:
        ahead_s = peerclock.ahead_s(peer.addr, now) if ":" not in peer.addr else None
    except OSError as error:
        return Finding(Grade.OK, "pair", f"{peer.name}: its clock was not asked: {error.strerror}")
    if ahead_s is None:
        return Finding(Grade.OK, "pair", f"{peer.name}: its clock does not answer (ICMP timestamp)")
    way = "ahead" if ahead_s > 0 else "behind"
    line = f"{peer.name}: its clock is {abs(ahead_s):.1f} s {way} of ours"
    if abs(ahead_s) < CLOCKS_S:
        return Finding(Grade.OK, "pair", line)
    grade = Grade.WRONG if abs(ahead_s) > CLOCKS_WRONG_S else Grade.WARNING
    return Finding(grade, "pair", f"{line}: run chrony or systemd-timesyncd on both")


def _mtu_towards(addr: str) -> int:
    """Of the interface that leads there."""
    shown = subprocess.run(["ip", "-o", "route", "get", addr], capture_output=True, text=True)
    words = shown.stdout.split()
    return _mtu_of(words[words.index("dev") + 1] if "dev" in words else "lo")


def _mtu_of(device: str) -> int:
    """As `ip` says: /sys may be mounted of another network namespace."""
    shown = subprocess.run(["ip", "-o", "link", "show", device], capture_output=True, text=True)
    words = shown.stdout.split()
    return min(int(words[words.index("mtu") + 1]), 9000) if "mtu" in words else USUAL_MTU
