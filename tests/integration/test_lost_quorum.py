"""A quorum that is lost for good: one manager goes on without the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from swarmlite.storage import trees
from swarmlite.testing import Cluster, checkers, sampler
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry


@pytest.mark.timeout(600)
@pytest.mark.machine
def test_a_survivor_goes_on_without_the_managers_that_are_gone_for_good(
    cluster_factory: Callable[..., Cluster],
) -> None:
    cluster = cluster_factory(3, 1)
    assert cluster.lan is not None
    with Registry(cluster.lan.gateway) as registry:
        registry.push(debian_images.busybox())
        image = f"{registry.address}/busybox:latest"
        _recover(cluster, image)


def _recover(cluster: Cluster, image: str) -> None:
    survivor, worker = cluster.managers[2], cluster.workers[0]
    survivor.cli("secret", "create", "password", "-", input="do-not-tell")
    survivor.cli("service", "create", "-d", "-q", "--name", "web", "--replicas", "2",
                 "--secret", "password", "--constraint", f"node.hostname!={cluster.manager.name}",
                 "--constraint", f"node.hostname!={cluster.managers[1].name}",
                 image, "sleep", "36000")  # fmt: skip
    cluster.wait_running("web", 2)
    refused = survivor.try_cli("swarm", "init", "--force-new-cluster")
    assert "have a quorum" in refused.stderr and refused.returncode == 1, refused
    before = sampler.containers([survivor, worker])
    assert len(before) == 2

    for gone in cluster.managers[:2]:
        gone.kill()
        trees.sweep(gone.paths.state_dir)  # for ever
    del cluster.managers[:2]
    cluster.wait(lambda: "force-new-cluster" in survivor.try_cli("node", "ls").stderr, 60, "a hint")
    told = survivor.try_cli("swarm", "init", "--force-new-cluster", "--availability", "drain")
    assert "leave out --availability" in told.stderr, told
    said = survivor.cli("swarm", "init", "--force-new-cluster")
    assert "swarm join --token" in said

    # Everything is there, it can be changed, and no container was touched.
    assert "password" in survivor.cli("secret", "ls")
    cluster.wait(lambda: f"{worker.name} Ready" in cluster._states(), 60, "the worker to be Ready")
    checkers.none(checkers.untouched(before, sampler.containers([survivor, worker])))
    survivor.cli("service", "scale", "-d", "web=4")
    cluster.wait_running("web", 4)
    checkers.none(checkers.untouched(before, sampler.containers([survivor, worker])))
    for name in ("manager1", "manager2"):
        cluster.wait(
            lambda name=name: survivor.cli("node", "rm", "--force", name), 30, f"{name} to be out"
        )  # type: ignore[misc]

    # Its disk is that of a manager like any other: it restarts, and others join.
    survivor.stop_daemon()
    survivor.start_daemon()
    cluster.add("manager")
    assert "password" in cluster.managers[1].cli("secret", "ls")
    checkers.none(checkers.untouched(before, sampler.containers([survivor, worker])))
