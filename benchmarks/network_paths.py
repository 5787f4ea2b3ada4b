"""Ways of packets: overlay, VIP and ingress beside a plain veth, HAProxy and Docker's overlay.

All sides run at once and are measured in turn, so that whatever else the machine does in a round
is in each of them.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from . import docker_overlay, network_load
from .network_hosts import PORT, PUBLISHED, ROUNDS, SECONDS, Hosts, Place, hosts_of, until
from .table import Row, spread_row

Side = Callable[[str], float]
"""A load's figure by one way."""
Figures = Mapping[tuple[str, str], Sequence[float]]
"""Of each side and load, one a round."""
UNITS = {"throughput": "B/s", "requests": "/s", "connections": "/s", "rtt": "us"}
BALANCED = ("requests", "connections")
PROXY_PORT = 9001
DOCKER = "Docker"
"""A side whose failure costs its own rows only: it is all others' programs."""


def measure(hosts: Hosts) -> list[Row]:
    """All rows; those whose peer does not run here are left out, and it is said."""
    client, plain = hosts.client, Place(hosts.far)
    direct, vip = (min(hosts_of(client, name)) for name in ("tasks.server", "server"))
    outside = Place(hosts.manager)
    sides: dict[str, tuple[Side, Sequence[str]]] = {
        "plain": (_by(Place(hosts.near), hosts.far.addr, PORT), tuple(network_load.LOADS)),
        "overlay": (_by(client, direct, PORT), tuple(network_load.LOADS)),
        "VIP": (_by(client, vip, PORT), BALANCED),
        "ingress to a task of the node": (_by(outside, hosts.far.addr, PUBLISHED), BALANCED),
        "ingress to another node's task": (_by(outside, hosts.near.addr, PUBLISHED), BALANCED),
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(hosts.server.server())
        stack.enter_context(plain.server())
        if docker := stack.enter_context(_docker()):
            sides[DOCKER] = (docker, ("throughput", "requests", "rtt"))
        if haproxy := stack.enter_context(_haproxy(hosts, direct)):
            sides["HAProxy"] = (haproxy, BALANCED)
        found = _in_turn(sides)
    return _rows(found)


def _by(place: Place, address: str, port: int) -> Side:
    return lambda what: place.load(what, address, port)


def _in_turn(sides: Mapping[str, tuple[Side, Sequence[str]]]) -> Figures:
    found: dict[tuple[str, str], list[float]] = {}
    measured = dict(sides)
    for _ in range(ROUNDS):
        for what in network_load.LOADS:
            for name, (side, loads) in list(measured.items()):
                if what not in loads:
                    continue
                try:
                    found.setdefault((name, what), []).append(side(what))
                except (OSError, ValueError, subprocess.CalledProcessError) as error:
                    if name != DOCKER:
                        raise
                    print(f"no rows against Docker's overlay: its {what} failed: {error}")
                    del measured[name]
    return {key: figures for key, figures in found.items() if key[0] in measured}


def _rows(found: Figures) -> list[Row]:
    rows: list[Row] = []

    def row(title: str, ours: str, peer: str, what: str, goal: float | None = None) -> None:
        """`goal`: of a rate the least, of a time its inverse; nothing without a peer."""
        if (peer, what) not in found:
            return
        least, most = (None, 1 / goal) if goal and what == "rtt" else (goal, None)
        named = "round trip" if what == "rtt" else what
        rows.append(
            spread_row(f"{title}: {named}", UNITS[what], found[ours, what], found[peer, what],
                       at_least=least, at_most=most)
        )  # fmt: skip

    for what in network_load.LOADS:
        goal = None if what == "connections" else 0.62
        row("overlay against a plain veth between the same hosts", "overlay", "plain", what, goal)
    for what in network_load.LOADS:
        row("overlay against Docker's", "overlay", DOCKER, what, 1.0)
    for what, goal in zip(BALANCED, (0.93, 0.9), strict=True):
        row("VIP against a task's address", "VIP", "overlay", what, goal)
    for what in BALANCED:
        row("VIP against HAProxy before the same task", "VIP", "HAProxy", what, 1.2)
    for side in ("ingress to a task of the node", "ingress to another node's task"):
        for what in BALANCED:
            row(f"{side}, against a plain veth", side, "plain", what)
    return rows


@contextlib.contextmanager
def _docker() -> Iterator[Side | None]:
    """By Docker's overlay, between two engines, where that runs."""
    with contextlib.ExitStack() as stack:
        try:
            client, server = stack.enter_context(docker_overlay.places())
            stack.enter_context(server.server(PORT))
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            print(f"no rows against Docker's overlay: it does not run here: {error}")
            yield None
            return
        yield lambda what: client.load(what, server.address, PORT, SECONDS)


@contextlib.contextmanager
def _haproxy(hosts: Hosts, backend: str) -> Iterator[Side | None]:
    """By Debian's, between the client and the same backend, where it is installed."""
    program = shutil.which("haproxy")
    if program is None:
        print("no row against HAProxy: it is not installed (apt-get install haproxy)")
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "haproxy.cfg"
        path.write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
            f"listen bench\n bind 127.0.0.1:{PROXY_PORT}\n server one {backend}:{PORT}\n"
        )
        process = hosts.near.popen(*hosts.client.enter, program, "-db", "-f", str(path))
        try:
            until(lambda: _listens(hosts.client, PROXY_PORT), "HAProxy")
            yield _by(hosts.client, "127.0.0.1", PROXY_PORT)
        finally:
            process.kill()
            process.communicate()


def _listens(place: Place, port: int) -> bool:
    shown = place.host.run(*place.enter, "cat", "/proc/net/tcp").stdout
    return f":{port:04X} 00000000:0000 0A" in shown
