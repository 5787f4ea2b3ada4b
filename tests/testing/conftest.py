"""An engine of ours, as the CI of a project has Docker's: one host, and its API."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from swarmlite.testing import Cluster, Host
from swarmlite.testing.containers.leading import leading_to


@pytest.fixture(scope="module")
def engine_host() -> Iterator[Host]:
    """The host; DOCKER_HOST names its socket, and testcontainers finds published ports."""
    if os.geteuid() != 0:
        pytest.skip("a host of namespaces needs root")
    pytest.importorskip("testcontainers")
    with Cluster(1, 0, name=f"k{os.getpid()}", swarm=False) as there:
        host = there.manager
        # Ports are published at the host's address and not at this machine's.
        with leading_to(f"unix://{host.paths.docker_socket}", host.addr):
            yield host
