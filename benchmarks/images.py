"""Pull with unpacking, and push, of 200 MB in ten layers, beside Docker's engine.

The registry is on the loopback of whoever asks it. Both engines are asked through their API.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from swarmlite.kernel.namespaces import setns
from swarmlite.proto.images_pb2 import PullImageRequest, PushImageRequest, RemoveImageRequest
from swarmlite.proto.images_pb2 import TagImageRequest as Tag
from swarmlite.proto.images_pb2_grpc import ImagesStub
from swarmlite.testing.oci import BuiltImage, TarWriter, layer
from swarmlite.testing.registry import Registry

from . import builds, carrying
from .docker_peer import DockerPeer
from .swarmlite_host import SwarmliteHost
from .table import Row, median, ratio_row

ROUNDS = int(os.environ.get("SWARMLITE_BENCH_ROUNDS", "3"))
LAYERS, FILES, FILE_BYTES = 10, int(os.environ.get("SWARMLITE_BENCH_FILES", "400")), 50_000
TIMEOUT_S = 600.0
PORT, PUSH_PORT = 5000, 5001
NAME = "bench/large:1"
_NEWNET = 0x40000000


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


class _Ours:
    def __init__(self, host: SwarmliteHost) -> None:
        self.pid = host.cluster.manager.pid
        path = host.cluster.manager.paths.agent_socket
        options = [("grpc.default_authority", "localhost")]
        self._channel = grpc.insecure_channel(f"unix:{path}", options=options)
        self._images = ImagesStub(self._channel)

    def pull(self, ref: str) -> None:
        for _ in self._images.Pull(PullImageRequest(ref=ref), timeout=TIMEOUT_S):
            pass

    def push(self, ref: str, target: str) -> None:
        self._images.Tag(Tag(ref=ref, target=target), timeout=TIMEOUT_S)
        began = time.perf_counter()
        for _ in self._images.Push(PushImageRequest(ref=target), timeout=TIMEOUT_S):
            pass
        self.pushed_s = time.perf_counter() - began
        self._images.Remove(RemoveImageRequest(ref=target), timeout=TIMEOUT_S)

    def remove(self, ref: str) -> None:
        self._images.Remove(RemoveImageRequest(ref=ref, force=True), timeout=TIMEOUT_S)


class _Docker:
    def __init__(self, docker: DockerPeer) -> None:
        assert docker.machine is not None
        self.pid = docker.machine.pid
        self._docker = docker

    def pull(self, ref: str) -> None:
        name, _, tag = ref.rpartition(":")
        self._docker.length("POST", f"/images/create?fromImage={name}&tag={tag}")
        self._docker.request("GET", f"/images/{ref}/json")  # an error of a pull comes in its stream

    def push(self, ref: str, target: str) -> None:
        name, _, tag = target.rpartition(":")
        self._docker.request("POST", f"/images/{ref}/tag?repo={name}&tag={tag}")
        began = time.perf_counter()
        self._docker.cli("push", "-q", target)
        self.pushed_s = time.perf_counter() - began
        self._docker.request("DELETE", f"/images/{target}")

    def remove(self, ref: str) -> None:
        self._docker.request("DELETE", f"/images/{ref}?force=1")


def _times(side: _Ours | _Docker, content: Path) -> tuple[float, float]:
    """Seconds of a pull with unpacking, and of a push: medians."""
    ref, pulls, pushes = f"127.0.0.1:{PORT}/{NAME}", [], []
    with registry_in(side.pid, PORT, content):
        for number in range(ROUNDS):
            began = time.perf_counter()
            side.pull(ref)
            pulls.append(time.perf_counter() - began)
            with registry_in(side.pid, PUSH_PORT):
                side.push(ref, f"127.0.0.1:{PUSH_PORT}/fresh-{number}:1")
            pushes.append(side.pushed_s)
            side.remove(ref)
    return median(pulls), median(pushes)


def measure(docker: DockerPeer, ours: SwarmliteHost) -> list[Row]:
    """Rows of both."""
    with tempfile.TemporaryDirectory(prefix="swl-bench-images-") as folder:
        content = Path(folder) / "content"
        image = built()
        with Registry(root=content) as filled:
            filled.push(image)
        theirs, own = _times(_Docker(docker), content), _times(_Ours(ours), content)
    return [
        ratio_row("pull and unpack 200 MB of ten layers", "s", own[0], theirs[0], at_most=0.6),
        ratio_row("push 200 MB of ten layers", "s", own[1], theirs[1], at_most=0.8),
        *builds.measure(docker, ours),
        *carrying.measure(image),
    ]
