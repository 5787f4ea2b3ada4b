"""One host on a network of 1,000 services and 5,000 endpoints: how soon a change is in every map.

The host's wiring runs in a process and a network namespace of its own, told what managers would
tell it: `python -m benchmarks.network_scale` is that process, and prints two figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from swarmlite.network.api import SandboxRequest
from swarmlite.network.node import NodeNetwork
from swarmlite.paths import Paths
from swarmlite.proto.dispatcher_pb2 import AssignmentChange, Endpoint, VirtualService
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import NetworkAttachment

from .docker_peer import pss_bytes
from .table import Row, alone_row, alone_spread_row

SERVICES, BACKENDS, SANDBOXES, CHANGES = 1000, 5, 20, 20
TIMEOUT_S = 300


class Descriptors:
    """Kept by this process: it is not restarted."""

    async def keep_fds(self, name: str, fds: Sequence[int]) -> None:
        """As network.FdStore."""

    async def kept_fds(self, name: str) -> list[int]:
        """As network.FdStore."""
        return []

    async def drop_fds(self, name: str) -> None:
        """As network.FdStore."""


def measure() -> list[Row]:
    """Both rows. Raises CalledProcessError."""
    command = ["unshare", "--net", "--mount", sys.executable, "-m", "benchmarks.network_scale"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    took_ms, size = json.loads(done.stdout.splitlines()[-1])
    what = f"{SERVICES} services, {SERVICES * BACKENDS} endpoints, {SANDBOXES} containers of a host"
    return [
        alone_spread_row(
            f"{what}: one change until it is in all their maps", "ms", took_ms, at_most=200
        ),
        alone_row("the same: memory of the wiring's process", "MB", size / 1e6, at_most=150),
    ]


def _address(number: int) -> str:
    return f"10.{20 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def _endpoint(service: int, backend: int, *, rotation: bool = True) -> Endpoint:
    number = 4096 + service * BACKENDS + backend
    return Endpoint(
        id=f"net/t{number}", network_id="net", addr=f"{_address(number)}/8", node_id="far",
        mac=f"02:42:0a:00:{number >> 8:02x}:{number & 255:02x}", node_addr="127.0.0.2",
        task_id=f"t{number}", service_id=f"s{service}", service_name=f"service-{service}",
        in_rotation=rotation, name=f"service-{service}.{backend}.x",
    )  # fmt: skip


async def _run(folder: Path) -> None:
    host = NodeNetwork(
        Paths(folder / "state", folder / "run"), node_id="near", data_path_addr="127.0.0.1",
        vxlan_port=4789, fds=Descriptors(),
    )  # fmt: skip
    await host.start()
    network = Network(id="net")
    network.spec.annotations.name, network.spec.driver.name = "net", "overlay"
    network.driver_state.options["vni"] = "4099"
    network.ipam.configs.add(subnet="10.0.0.0/8")
    services, endpoints = {}, {}
    for number in range(SERVICES):
        service = VirtualService(id=f"s{number}", name=f"service-{number}")
        service.vips.add(network_id="net", addr=f"{_address(1 << 17 | number)}/8")
        services[service.id] = service
        for backend in range(BACKENDS):
            made = _endpoint(number, backend)
            endpoints[made.id] = made
    await host.update(networks={"net": network}, endpoints=endpoints, services=services)
    for number in range(SANDBOXES):
        place = NetworkAttachment(
            network_id="net", network_name="net", addresses=[f"{_address(16 + number)}/8"]
        )
        await host.create_sandbox(f"box{number}", SandboxRequest([place]))
    await host.settled()
    took = []
    for number in range(CHANGES):
        await asyncio.sleep(0.6)  # what went before it takes no share of it
        began = time.monotonic()
        change = _endpoint(number, 0, rotation=False)
        await host.apply([AssignmentChange(endpoint=change)])
        await host.settled()
        took.append((time.monotonic() - began) * 1e3)
    print(json.dumps([took, pss_bytes(os.getpid())]))
    await host.teardown()
    await host.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        asyncio.run(_run(Path(made)))
