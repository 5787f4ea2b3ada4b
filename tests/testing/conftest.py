"""An engine of ours, as the CI of a project has Docker's: one host, and its API."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from swarmlite.testing import Cluster, Host


@pytest.fixture(scope="module")
def engine_host() -> Iterator[Host]:
    """The host; DOCKER_HOST names its socket, and testcontainers finds published ports."""
    if os.geteuid() != 0:
        pytest.skip("a host of namespaces needs root")
    pytest.importorskip("testcontainers")
    with (
        pytest.MonkeyPatch.context() as patch,
        Cluster(1, 0, name=f"k{os.getpid()}", swarm=False) as there,
    ):
        host = there.manager
        patch.setenv("DOCKER_HOST", f"unix://{host.paths.docker_socket}")
        # Ports are published at the host's address and not at this machine's.
        patch.setenv("TESTCONTAINERS_HOST_OVERRIDE", host.addr)
        patch.setenv("TC_HOST", host.addr)
        from testcontainers.core.config import testcontainers_config

        patch.setattr(testcontainers_config, "ryuk_disabled", True)  # its image is on Docker Hub
        yield host
