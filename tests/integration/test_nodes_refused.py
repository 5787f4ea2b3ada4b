"""Nodes that may not come, or not any more, on real hosts: a clear line, the cluster as before."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from test_faults import create, refused

from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.testing import Cluster, Host, checkers, sampler

pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]


@pytest.fixture
def hosts(swarm: Cluster) -> Iterator[tuple[Host, Host]]:
    """Two on the same link, the first one booted, that are in no swarm; of it no node stays."""
    assert swarm.lan is not None
    found = tuple(
        Host(name, swarm.lan, swarm.root, swarm.cgroup_parent) for name in ("guest", "copy")
    )
    found[0].boot()
    yield found  # type: ignore[misc]
    for host in found:
        host.kill()
    for node in nodes(swarm, "guest"):
        swarm.manager.cli("node", "rm", "--force", node)


def nodes(swarm: Cluster, hostname: str) -> list[str]:
    found = swarm.ask("ListNodes", ListRequest()).nodes
    return [node.id for node in found if node.description.hostname == hostname]


def test_nodes_that_may_not_come_or_not_any_more(
    swarm: Cluster, hosts: tuple[Host, Host], busybox: str
) -> None:
    guest, copy = hosts
    old = swarm.manager.cli("swarm", "join-token", "-q", "worker").strip()
    new = swarm.manager.cli("swarm", "join-token", "--rotate", "-q", "worker").strip()

    def join(token: str) -> tuple[str, ...]:
        return ("swarm", "join", "--token", token, f"{swarm.manager.addr}:2377")

    assert "the join token is not valid: it may have been rotated" in refused(guest, *join(old))
    assert guest.status()["swarm"] == "inactive" and not nodes(swarm, "guest")
    # The token decides the role: a worker's makes no manager of whoever has it.
    assert "This node joined a swarm as a worker." in guest.cli(*join(new))
    assert "unknown flag: --manager" in refused(guest, *join(new), "--manager")
    assert "already part of a swarm" in refused(guest, *join(new))
    (node,) = nodes(swarm, "guest")
    there = ("--constraint", "node.hostname==guest")
    create(swarm, "--name", "there", *there, busybox, "sleep", "36000")
    swarm.wait_running("there", 1)
    before = sampler.containers([guest])

    # A copy of its directory on another host: refused, and what ran there runs here only.
    copy.paths.state_dir.parent.mkdir(parents=True)
    subprocess.run(["cp", "-a", guest.paths.state_dir, copy.paths.state_dir.parent], check=True)
    copy.boot()
    said = f"node {node} runs at {guest.addr} already: the state directory of this host is a copy"
    swarm.wait(lambda: said in copy.try_cli("info").stdout, 60, "the copy to say so")
    assert not sampler.containers([copy])
    checkers.none(checkers.untouched(before, sampler.containers([guest])))
    copy.kill()

    # Removed: its tasks go, and it comes back as another node only.
    swarm.manager.cli("node", "rm", "--force", "guest")
    swarm.wait(lambda: not sampler.containers([guest]), 60, "its tasks to end")
    removed = lambda: "was removed from the swarm" in guest.try_cli("info").stdout  # noqa: E731
    swarm.wait(removed, 60, "the node to know")
    assert "already part of a swarm" in refused(guest, *join(new))
    guest.cli("swarm", "leave")
    guest.cli(*join(new))
    swarm.wait_running("there", 1)
    assert nodes(swarm, "guest") != [node]
