"""A host outside of a swarm with a gateway, and a registry beside it, for Docker's clients."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from swarmlite.testing import Cluster, Host
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

START_S = 30.0


@dataclass(frozen=True)
class GatewayHost:
    """One host; its API answers at `url`."""

    host: Host
    registry: Registry
    path: Path

    @property
    def url(self) -> str:
        """What clients call DOCKER_HOST."""
        return f"unix://{self.path}"

    def image(self, name: str) -> str:
        """The registry's reference of one of its images."""
        return f"{self.registry.address}/{name}"


@contextmanager
def gateway_host(name: str) -> Iterator[GatewayHost]:
    """A host and a registry with busybox:latest and small:1, which are two images."""
    if os.geteuid() != 0:
        pytest.skip("a host of namespaces needs root")
    with Cluster(1, 0, name=f"{name}{os.getpid()}", swarm=False) as cluster:
        assert cluster.lan is not None
        with Registry(cluster.lan.gateway) as registry:
            busybox = debian_images.busybox()
            registry.push(busybox)
            registry.push(replace(busybox, name="small:1", settings={"Cmd": ["true"]}))
            host = cluster.manager
            path = host.paths.run_dir / "api.sock"
            with _gateway(host, path):
                yield GatewayHost(host, registry, path)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


@contextmanager
def _gateway(host: Host, path: Path) -> Iterator[None]:
    assert host.machine is not None
    # Without the pid namespace: it is then this process's own child, to be ended by its pid.
    command = [word for word in host.machine.enter([]) if word != "-p"]
    command += [sys.executable, "-m", "swarmlite.gateway", "--socket", str(path), "--idle", "0"]
    log = host.paths.state_dir / "gateway.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | host.environment
        )
    try:
        deadline = time.monotonic() + START_S
        while not _answers(path):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the gateway does not start:\n{log.read_text()}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(START_S)
