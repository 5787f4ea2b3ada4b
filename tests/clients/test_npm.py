"""dockerode and testcontainers of npm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from swarmlite.testing import Cluster

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]
HERE = Path(__file__).parent


@pytest.mark.parametrize("script", ["npm_swarm.js", "npm_containers.js"])
def test_a_script_ends_well(npm: Path, three_hosts: tuple[Cluster, str], script: str) -> None:
    """What it checks stands in it."""
    cluster, image = three_hosts
    manager = cluster.manager
    manager.cli("image", "pull", "-q", image)
    done = subprocess.run(
        ["node", HERE / script],
        capture_output=True,
        text=True,
        timeout=600,
        env={
            **os.environ,
            "NODE_PATH": str(npm / "node_modules"),
            "SOCKET": str(manager.paths.docker_socket),
            "IMAGE": image,
            "DOCKER_HOST": f"unix://{manager.paths.docker_socket}",
            # Ryuk's image is on Docker Hub; ports are published at the host's address.
            "TESTCONTAINERS_RYUK_DISABLED": "true",
            "TESTCONTAINERS_HOST_OVERRIDE": manager.addr,
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("done\n")
