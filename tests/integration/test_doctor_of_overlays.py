"""`doctor` on a node of a cluster: what a firewall between two hosts does to the overlays."""

from __future__ import annotations

import pytest
from swarm_world import create

from swarmlite.testing import Cluster

pytestmark = [pytest.mark.timeout(300), pytest.mark.machine]
PORT = 18731


def test_vxlan_to_a_node_with_published_tasks_is_tried_by_packets_of_its_full_size(
    swarm: Cluster, busybox: str
) -> None:
    """Through the overlay itself; ICMP between the hosts says nothing of it."""
    create(
        swarm, "--name", "open", "--mode", "global", "-p", f"{PORT}:80", busybox, "sleep", "1000"
    )
    swarm.wait_running("open", len(swarm.hosts))
    worker = swarm.workers[0]
    whole = f"{worker.name}: VXLAN packets of 1450 bytes arrive"

    def told() -> str:
        return swarm.manager.try_cli("doctor").stdout

    swarm.wait(lambda: whole in told(), 120, "VXLAN to pass")
    for rule, said in (
        ("meta length > 1400 drop", "small VXLAN packets arrive, those of 1450 bytes do not"),
        ("drop", "no VXLAN packet comes back from"),
    ):
        chain = "add chain inet wall input { type filter hook input priority 0; }"
        dropped = f"add rule inet wall input udp dport 4789 {rule}"
        worker.run("nft", f"add table inet wall; {chain}; {dropped}")
        try:
            assert f"wrong    pair              {worker.name}: {said}" in told()
        finally:
            worker.run("nft", "delete table inet wall")
