"""`docker compose` of Debian 13, and docker-compose 1.29, on one host of a cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from swarmlite.testing import Cluster

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]
FILE = Path(__file__).with_name("compose.yml")


@pytest.mark.parametrize("program", ["compose", "compose_1"])
def test_a_project_comes_up_in_order_is_scaled_and_goes_without_a_trace(
    program: str, request: pytest.FixtureRequest, three_hosts: tuple[Cluster, str]
) -> None:
    """Health, names on its network, logs, exec, a published port, and volumes."""
    compose = request.getfixturevalue(program)
    cluster, image = three_hosts
    manager = cluster.manager
    manager.cli("image", "pull", "-q", image)
    environment = {
        **os.environ,
        "DOCKER_HOST": f"unix://{manager.paths.docker_socket}",
        "IMAGE": image,
    }

    def run(*words: str) -> str:
        done = subprocess.run(
            [compose, "-p", "proj", "-f", FILE, *words],
            capture_output=True,
            text=True,
            timeout=240,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("up", "-d")
    try:
        cluster.wait(lambda: "it works" in run("logs", "--no-color", "client"), 60, "its output")
        assert sorted(run("ps", "--services", "--filter", "status=running").split()) == [
            "client",
            "web",
        ]
        assert run("exec", "-T", "web", "echo", "said") == "said\n"
        assert manager.get(8099) == "it works\n"
        run("up", "-d", "--scale", "client=2")
        assert len(run("ps", "-q", "client").split()) == 2
        run("restart", "client")
    finally:
        run("down", "-v")
    assert manager.cli("container", "ls", "-aq") == ""
    assert "proj_" not in manager.cli("volume", "ls") + manager.cli("network", "ls")
