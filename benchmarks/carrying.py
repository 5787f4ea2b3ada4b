"""An image that one host has, carried to ten hosts of namespaces; and one large layer by an agent.

What the source sends is counted by its network card, TLS and all; memory by the kernel.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from swarmlite.testing import Cluster, Host
from swarmlite.testing.oci import (
    BuiltImage,
    BuiltLayer,
    TarWriter,
    docker_archive,
    plain_layer,
)
from swarmlite.testing.registry import Registry

from .docker_peer import pss_bytes
from .saying import say
from .table import Row, alone_row

NODES = int(os.environ.get("SWARMLITE_BENCH_NODES", "10"))
LARGE_BYTES = int(os.environ.get("SWARMLITE_BENCH_LAYER_MB", "2048")) << 20
TIMEOUT_S = 240.0
_GAVE = re.compile(r"gave a blob digest=(\S+) .* bytes=(\d+)$")
SAMPLE_S = 0.02
_BLOCK = 16 << 20


def sent_bytes(host: Host) -> int:
    """What a host's network card has sent to others so far."""
    for line in Path(f"/proc/{host.pid}/net/dev").read_text().splitlines():
        name, _, figures = line.partition(":")
        if name.strip() == "eth0":
            return int(figures.split()[8])
    raise RuntimeError(f"host {host.name} has no eth0")


def given_bytes(host: Host, digests: Collection[str]) -> int:
    """What a host's agent has given of these blobs so far: without what carries them."""
    lines = (host.paths.logs_dir / "agent.log").read_text(errors="replace").splitlines()
    found = [match for line in lines if (match := _GAVE.search(line))]
    return sum(int(match[2]) for match in found if match[1] in digests)


def measure(image: BuiltImage | None, *, large: bool) -> list[Row]:
    """Rows of the image on NODES further hosts, and of an agent that a large layer goes through."""
    with (
        tempfile.TemporaryDirectory(prefix="swl-bench-carrying-") as folder,
        Cluster(1, NODES if image is not None else 1, name="benchc") as cluster,
    ):
        rows = [] if image is None else _carried(cluster, image, Path(folder))
        return rows + (_large(cluster, Path(folder)) if large else [])


def _carried(cluster: Cluster, image: BuiltImage, folder: Path) -> list[Row]:
    size = sum(one.size for one in image.layers)
    archive = folder / "image.tar"
    archive.write_bytes(docker_archive([image.named("carried:1")]))
    source = cluster.manager
    say(f"carry: {len(cluster.hosts)} hosts are up; the image is loaded on one")
    source.cli("image", "load", "-q", "-i", str(archive), timeout_s=TIMEOUT_S)
    say(f"carry: to {NODES} nodes")
    before, began = sent_bytes(source), time.perf_counter()
    with peak_of(source) as peak:
        source.cli("image", "push", "-q", "--nodes", "carried:1", timeout_s=TIMEOUT_S)
    took_s = time.perf_counter() - began
    share = (sent_bytes(source) - before) / size
    layers = given_bytes(source, {one.digest for one in image.layers}) / size
    say(f"carry: done in {took_s:.0f} s")
    return [
        alone_row(f"to {NODES} nodes: given by the source", "of its bytes", layers, at_most=2.0),
        # Headers of TLS, HTTP/2 and TCP, and the managers' words, are a few hundredths.
        alone_row("the same, by its network card", "of its bytes", share, at_most=2.1),
        alone_row(f"{size >> 20} MB to {NODES} nodes", "s", took_s),
        alone_row("the source's agent grows by", "MB", peak.grown_mb),
    ]


def _large(cluster: Cluster, folder: Path) -> list[Row]:
    """One layer of LARGE_BYTES: from a registry to a node, and from that to another."""
    assert cluster.lan is not None
    say(f"layer: one of {LARGE_BYTES >> 20} MB")
    first, second = cluster.manager, cluster.workers[0]
    what = f"a layer of {LARGE_BYTES >> 20} MB"
    with Registry(cluster.lan.gateway) as registry:
        name = f"{registry.address}/large:1"
        path = folder / "large.tar"
        registry.push(BuiltImage("large:1", (_one_layer(path),), {"Cmd": ["/none"]}))
        path.unlink()
        with peak_of(first) as pulling:
            first.cli("image", "pull", "-q", name, timeout_s=TIMEOUT_S)
    with peak_of(first) as giving, peak_of(second) as taking:
        first.cli("image", "push", "-q", "--nodes", second.name, name, timeout_s=TIMEOUT_S)
    return [
        alone_row(f"{what} is pulled: the agent grows by", "MB", pulling.grown_mb, at_most=64),
        alone_row(f"{what} is given: the agent grows by", "MB", giving.grown_mb, at_most=64),
        alone_row(f"{what} is taken: the agent grows by", "MB", taking.grown_mb, at_most=64),
    ]


def _one_layer(path: Path) -> BuiltLayer:
    """A plain tar on the disk: no two of its blocks are the same, and none of it is kept here."""
    block = bytearray(os.urandom(_BLOCK))
    with path.open("wb") as stream:
        tar = TarWriter(stream)
        for number in range(max(LARGE_BYTES // _BLOCK, 1)):
            block[:8] = number.to_bytes(8, "big")
            tar.file(f"large/{number}", bytes(block))
        tar.close()
    return plain_layer(path)


class Peak:
    """How much memory an agent took at most, above what it had at first."""

    def __init__(self, host: Host) -> None:
        self._pid = host.node_pid("agent")
        self._first = self.most = pss_bytes(self._pid)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @property
    def grown_mb(self) -> float:
        """Until now."""
        return (self.most - self._first) / (1 << 20)

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.most = max(self.most, pss_bytes(self._pid))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


@contextmanager
def peak_of(host: Host) -> Iterator[Peak]:
    """Watches a host's agent."""
    with Peak(host) as peak:
        yield peak
