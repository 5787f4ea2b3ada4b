"""The other kinds of the one cluster: hosts that are containers of a Docker engine.

SWARMLITE_TEST_CLUSTER chooses: `docker` (the engine of DOCKER_HOST; the hosts' image is built of
deploy/Dockerfile there), `swarmlite` (an engine of ours, on a host made for it), `dockerd`
(Debian's, in namespaces of its own). Tests that are marked `machine` are left out.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from swarmlite.engine.oci_spec.security import host_capabilities
from swarmlite.runtime.oci import capabilities
from swarmlite.testing import Cluster, DockerCluster, images
from swarmlite.testing.containers.cluster import engine
from swarmlite.testing.containers.leading import leading_to
from swarmlite.testing.oci import BuiltImage, docker_archive
from swarmlite.testing.push import Pusher

ROOT = Path(__file__).parents[2]
for folder in (ROOT / "tests" / "testing", ROOT / "benchmarks"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

KIND = os.environ.get("SWARMLITE_TEST_CLUSTER", "namespaces")
KINDS = ("namespaces", "docker", "swarmlite", "dockerd")
PORT = 5000
CONFIGURATION = f"""
version: 0.1
storage: {{filesystem: {{rootdirectory: /registry}}, delete: {{enabled: true}}}}
http: {{addr: ":{PORT}"}}
"""


@contextmanager
def docker_cluster(managers: int, workers: int) -> Iterator[DockerCluster]:
    """A cluster in the engine that KIND names."""
    if KIND not in KINDS:
        pytest.fail(f"SWARMLITE_TEST_CLUSTER: expected one of {', '.join(KINDS)}, not {KIND}")
    with _engine() as image, DockerCluster(managers, workers, image=image) as cluster:
        yield cluster


@contextmanager
def _engine() -> Iterator[str]:
    """Make DOCKER_HOST lead to it; the image of the hosts, which it has."""
    if KIND == "docker":
        yield ""
    elif KIND == "swarmlite":
        with Cluster(1, 0, name=f"e{os.getpid()}", swarm=False) as outer:
            host = outer.manager
            with _loaded(f"unix://{host.paths.docker_socket}", host.addr) as image:
                yield image
    else:
        if shutil.which("dockerd") is None:
            pytest.skip("dockerd is not installed (Debian: docker.io)")
        from docker_peer import DockerPeer

        with (
            DockerPeer("192.168.99.1", *_runtime()) as peer,
            _loaded(f"unix://{peer.socket}", peer.address) as image,
        ):
            yield image


def _runtime() -> tuple[str, ...]:
    """Flags of dockerd: runc fails for what is privileged where root itself lacks a capability."""
    if len(host_capabilities()) == len(capabilities.NUMBERS):
        return ()
    ours = Path(sys.prefix) / "bin" / "swarmlite-runtime"
    return f"--add-runtime=swarmlite={ours}", "--default-runtime=swarmlite"


@contextmanager
def _loaded(url: str, address: str) -> Iterator[str]:
    import node_image

    with leading_to(url, address):
        built = node_image.plain(node_image.node())
        _load(built)
        yield built.name


def _load(image: BuiltImage) -> None:
    client = engine()
    try:
        # A file, since a report of what fails shows the arguments: of bytes that takes gigabytes.
        client.images.load(io.BytesIO(docker_archive([image])))
    finally:
        client.close()


class EngineRegistry:
    """Debian's docker-registry in a container beside the hosts; `address` is theirs, `url` ours."""

    def __init__(self, cluster: DockerCluster) -> None:
        import node_image
        from testcontainers.core.container import DockerContainer

        built = images.debian("swarmlite-registry:test", [["docker-registry"]])
        _load(node_image.plain(built))
        self._container: Any = (
            DockerContainer(built.name)
            .with_network(cluster._network)  # type: ignore[arg-type]
            .with_copy_into_container(CONFIGURATION.encode(), "/registry.yml")
            .with_command(["docker-registry", "serve", "/registry.yml"])
            .start()
        )
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        (place,) = wrapped.attrs["NetworkSettings"]["Networks"].values()
        self.address = f"{place['IPAddress']}:{PORT}"
        self._forward = cluster.manager.forward(self.address)
        self.url = f"http://127.0.0.1:{self._forward.port}"

    def push(self, image: BuiltImage, name: str = "") -> str:
        """The reference that the hosts pull it by."""
        name = name or image.name
        Pusher(self.url).push(image, name)
        return f"{self.address}/{name}"

    def close(self) -> None:
        self._forward.close()
        self._container.stop()
