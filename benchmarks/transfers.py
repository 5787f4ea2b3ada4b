"""Pull with unpacking, and push, of 200 MB in ten layers, beside Docker's engine: in turn.

The registry is on the loopback of whoever asks it. Both engines are asked through their API.
"""

from __future__ import annotations

import functools
import os
import random
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import grpc

from swarmlite.kernel.namespaces import setns
from swarmlite.proto.images_pb2 import PullImageRequest, PushImageRequest, RemoveImageRequest
from swarmlite.proto.images_pb2 import TagImageRequest as Tag
from swarmlite.proto.images_pb2_grpc import ImagesStub
from swarmlite.testing.oci import BuiltImage, TarWriter, layer
from swarmlite.testing.registry import Registry

from .docker_peer import DockerPeer
from .saying import say
from .spending import Spent, spending
from .swarmlite_host import SwarmliteHost
from .table import Row, spread_row

LAYERS, FILES, FILE_BYTES = 10, int(os.environ.get("SWARMLITE_BENCH_FILES", "400")), 50_000
TIMEOUT_S = 240.0
ROUNDS_S = 100.0
"""No further round begins after that."""
PORT, PUSH_PORT = 5000, 5001
NAME = "bench/large:1"
_NEWNET = 0x40000000


@functools.cache
def built() -> BuiltImage:
    """The image: files of text and of noise, half and half, so that it shrinks as images do."""
    noise = random.Random(7)
    layers = []
    for number in range(LAYERS):
        tar = TarWriter()
        for file in range(FILES):
            data = noise.randbytes(FILE_BYTES // 2)
            tar.file(
                f"data/{number}/{file % 20}/{file}", data + data.hex()[: FILE_BYTES // 2].encode()
            )
        layers.append(layer(tar.tar()))
    return BuiltImage(NAME, tuple(layers), {"Cmd": ["/none"]})


@contextmanager
def registry_in(pid: int, port: int, root: Path | None = None) -> Iterator[Registry]:
    """A registry on the loopback of a machine of namespaces; its maker's thread lives there too."""

    def enter() -> None:
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            setns(fd, _NEWNET)
        finally:
            os.close(fd)

    with ThreadPoolExecutor(1, initializer=enter) as inside:
        registry = Registry(port=port, root=root)
        inside.submit(registry.__enter__).result()
        try:
            yield registry
        finally:
            inside.submit(registry.__exit__, None, None, None).result()


class _Side(Protocol):
    pid: int

    def daemons(self) -> list[int]:
        """Pids of all that works for it."""

    def pull(self, ref: str) -> None:
        """With unpacking."""

    def tag(self, ref: str, target: str) -> None:
        """One more name."""

    def push(self, target: str) -> None:
        """To its registry."""

    def remove(self, ref: str) -> None:
        """A name, and what hangs on it."""


class _Ours:
    def __init__(self, host: SwarmliteHost) -> None:
        self.pid, self.daemons = host.cluster.manager.pid, host.daemon_pids
        path = host.cluster.manager.paths.agent_socket
        options = [("grpc.default_authority", "localhost")]
        self._channel = grpc.insecure_channel(f"unix:{path}", options=options)
        self._images = ImagesStub(self._channel)

    def pull(self, ref: str) -> None:
        for _ in self._images.Pull(PullImageRequest(ref=ref), timeout=TIMEOUT_S):
            pass

    def tag(self, ref: str, target: str) -> None:
        self._images.Tag(Tag(ref=ref, target=target), timeout=TIMEOUT_S)

    def push(self, target: str) -> None:
        for _ in self._images.Push(PushImageRequest(ref=target), timeout=TIMEOUT_S):
            pass

    def remove(self, ref: str) -> None:
        self._images.Remove(RemoveImageRequest(ref=ref, force=True), timeout=TIMEOUT_S)


class _Docker:
    def __init__(self, docker: DockerPeer) -> None:
        assert docker.machine is not None
        self.pid, self.daemons = docker.machine.pid, docker.daemon_pids
        self._docker = docker

    def pull(self, ref: str) -> None:
        name, _, tag = ref.rpartition(":")
        self._docker.length("POST", f"/images/create?fromImage={name}&tag={tag}")
        self._docker.request("GET", f"/images/{ref}/json")  # an error of a pull comes in its stream

    def tag(self, ref: str, target: str) -> None:
        name, _, tag = target.rpartition(":")
        self._docker.request("POST", f"/images/{ref}/tag?repo={name}&tag={tag}")

    def push(self, target: str) -> None:
        self._docker.cli("push", "-q", target)

    def remove(self, ref: str) -> None:
        self._docker.request("DELETE", f"/images/{ref}?force=1")


def measure(
    docker: DockerPeer,
    ours: SwarmliteHost,
    image: BuiltImage,
    folder: Path,
    parts: Collection[str],
    rounds: int,
) -> list[Row]:
    """Rows of both; `folder` is for what the registry has."""
    with Registry(root=folder / "content") as filled:
        filled.push(image)
    sides: Sequence[_Side] = (_Ours(ours), _Docker(docker))
    pulls: list[list[Spent]] = [[], []]
    pushes: list[list[Spent]] = [[], []]
    ref = f"127.0.0.1:{PORT}/{NAME}"
    with ExitStack() as stack:
        for side in sides:
            stack.enter_context(registry_in(side.pid, PORT, folder / "content"))
        named = " and ".join(part for part in ("pull", "push") if part in parts)
        began = time.monotonic()
        for number in range(rounds):
            if number and time.monotonic() - began > ROUNDS_S:
                say(f"{named}: {number} of {rounds} rounds in {ROUNDS_S:g} s")
                break
            say(f"{named}: round {number + 1} of {rounds}")
            for place, side in enumerate(sides):
                with spending(side.daemons) as spent:
                    side.pull(ref)
                pulls[place].append(spent)
                if "push" in parts:
                    pushes[place].append(
                        _push(side, ref, f"127.0.0.1:{PUSH_PORT}/fresh-{number}:1")
                    )
                side.remove(ref)
    rows = []
    if "pull" in parts:
        rows += _rows("pull and unpack 200 MB of ten layers", pulls, at_most=0.6)
    if "push" in parts:
        rows += _rows("push 200 MB of ten layers", pushes, at_most=0.8)
    return rows


def _push(side: _Side, ref: str, target: str) -> Spent:
    """To a registry that has nothing."""
    with registry_in(side.pid, PUSH_PORT):
        side.tag(ref, target)
        with spending(side.daemons) as spent:
            side.push(target)
        side.remove(target)
    return spent


def _rows(what: str, spent: Sequence[Sequence[Spent]], *, at_most: float) -> list[Row]:
    clock = [[one.clock_s for one in side] for side in spent]
    cpu = [[one.cpu_s for one in side] for side in spent]
    return [
        spread_row(what, "s", clock[0], clock[1], at_most=at_most),
        spread_row(f"{what}: CPU", "s", cpu[0], cpu[1]),
    ]
