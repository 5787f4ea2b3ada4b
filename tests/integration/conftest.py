"""One cluster and one registry for all of these tests: what a test makes, it removes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmlite.proto.control_pb2 import ListRequest, ListTasksRequest, RemoveRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.testing import Cluster, Host
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("a cluster of namespaces needs root")
    with Cluster(1, 2, name=f"i{os.getpid()}") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def registry(shared_cluster: Cluster) -> Iterator[Registry]:
    assert shared_cluster.lan is not None
    with Registry(shared_cluster.lan.gateway) as registry:
        registry.push(debian_images.busybox())
        yield registry


@pytest.fixture(scope="session")
def busybox(registry: Registry) -> str:
    return f"{registry.address}/busybox:latest"


@pytest.fixture
def swarm(shared_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The shared cluster, every host up, without services before and after."""
    yield shared_cluster
    failed = getattr(request.node, "failed", False)
    if failed:
        shared_cluster.collect()
    shared_cluster.heal()
    for host in shared_cluster.hosts:
        if host.machine is None:
            host.boot()
    with shared_cluster.control() as control:
        remove_everything(shared_cluster, control)


def remove_everything(cluster: Cluster, control: ControlStub) -> None:
    """Services first, then what they used, once their containers are gone."""
    for service in control.ListServices(ListRequest()).services:
        control.RemoveService(RemoveRequest(ref=service.id))
    cluster.wait(lambda: not any(map(containers_of, cluster.hosts)), 30, "containers to go")
    cluster.wait(lambda: not control.ListTasks(ListTasksRequest()).tasks, 10, "tasks to go")
    for network in control.ListNetworks(ListRequest()).networks:
        if not network.spec.ingress:
            control.RemoveNetwork(RemoveRequest(ref=network.id))
    for secret in control.ListSecrets(ListRequest()).secrets:
        control.RemoveSecret(RemoveRequest(ref=secret.id))
    for config in control.ListConfigs(ListRequest()).configs:
        control.RemoveConfig(RemoveRequest(ref=config.id))
    for node in control.ListNodes(ListRequest()).nodes:
        if node.spec.availability != NodeSpec.ACTIVE:
            cluster.manager.cli("node", "update", "--availability", "active", node.id)


def containers_of(host: Host) -> list[Path]:
    """The bundles of containers that were not removed yet."""
    return list(host.paths.containers_dir.glob("*/config.json"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    if outcome.get_result().failed:  # type: ignore[attr-defined]
        item.failed = True  # type: ignore[attr-defined]
