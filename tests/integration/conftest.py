"""One cluster and one registry for all of these tests: what a test makes, it removes."""

import os
from collections.abc import Iterator

import pytest
from swarmlite.testing.registry import Registry

from swarmlite.testing import Cluster
from swarmlite.testing import images as debian_images


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
    manager = shared_cluster.manager
    for kind in ("service", "network", "secret", "config"):
        names = manager.cli(kind, "ls", "--format", "{{.Name}}").split()
        names = [name for name in names if name not in ("ingress", "bridge", "host", "none")]
        if names:
            shared_cluster.wait(
                lambda kind=kind, names=names: (
                    manager.try_cli(kind, "rm", *names).returncode == 0
                    or not set(names)
                    & set(manager.cli(kind, "ls", "--format", "{{.Name}}").split())
                ),
                20,
                f"{kind}s {names} to be removed",
            )
    for host in shared_cluster.hosts:
        manager.cli("node", "update", "--availability", "active", host.name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    if outcome.get_result().failed:  # type: ignore[attr-defined]
        item.failed = True  # type: ignore[attr-defined]
