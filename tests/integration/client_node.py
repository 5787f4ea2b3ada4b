"""A manager of the cluster of three as clients in Python see it: an engine at a URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import docker
import pytest

from swarmlite.testing import Cluster
from swarmlite.testing.oci import BuiltImage
from swarmlite.testing.registry import Registry


@dataclass(frozen=True)
class ClientNode:
    """`url` is what clients call DOCKER_HOST; published ports answer at `addr`."""

    cluster: Cluster
    registry: Registry

    @property
    def url(self) -> str:
        return f"unix://{self.cluster.manager.paths.docker_socket}"

    @property
    def addr(self) -> str:
        return self.cluster.manager.addr

    def image(self, name: str) -> str:
        """The registry's reference of one of its images."""
        return f"{self.registry.address}/{name}"

    def fetched(self, *names: str) -> None:
        """Have images of the registry on the manager."""
        client = docker.DockerClient(base_url=self.url)
        try:
            for name in names:
                client.images.pull(self.image(name))
        finally:
            client.close()

    def push(self, image: BuiltImage) -> None:
        """Put an image into the registry and onto the manager."""
        self.registry.push(image)
        self.fetched(image.name)


@pytest.fixture(scope="module")
def node(shared_cluster: Any, registry: Registry) -> ClientNode:
    """With busybox on it."""
    made = ClientNode(shared_cluster, registry)
    made.fetched("busybox:latest")
    return made
