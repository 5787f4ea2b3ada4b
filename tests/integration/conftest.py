"""One cluster and one registry for all of these tests: what a test makes, it removes."""

import os
from collections.abc import Iterator

import pytest
from engine_cluster import KIND, EngineRegistry, docker_cluster
from swarm_world import EXAMPLES, Deploy, remove_everything

from swarmlite.testing import Cluster, DockerCluster
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if KIND != "namespaces":
        left_out = pytest.mark.skip(reason=f"needs hosts of this machine, not of {KIND}")
        for item in items:
            item.add_marker(pytest.mark.timeout(900))  # the first of them loads images and boots
            if item.get_closest_marker("machine"):
                item.add_marker(left_out)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster | DockerCluster]:
    if KIND != "namespaces":
        with docker_cluster(1, 2) as there:
            yield there
        return
    if os.geteuid() != 0:
        pytest.skip("a cluster of namespaces needs root")
    with Cluster(1, 2, name=f"i{os.getpid()}") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def registry(shared_cluster: Cluster | DockerCluster) -> Iterator[Registry | EngineRegistry]:
    if isinstance(shared_cluster, DockerCluster):
        beside = EngineRegistry(shared_cluster)
        try:
            beside.push(debian_images.busybox())
            yield beside
        finally:
            beside.close()
        return
    assert shared_cluster.lan is not None
    with Registry(shared_cluster.lan.gateway) as registry:
        registry.push(debian_images.busybox())
        yield registry


@pytest.fixture(scope="session")
def busybox(registry: Registry) -> str:
    return f"{registry.address}/busybox:latest"


@pytest.fixture
def swarm(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster, every host up, without services before and after."""
    yield shared_cluster
    shared_cluster.heal()
    for host in shared_cluster.hosts:
        if not host.on:
            host.boot()
    with shared_cluster.control() as control:
        remove_everything(shared_cluster, control)


@pytest.fixture
def deploy(swarm: Cluster, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Deploy examples of compose-examples/, with their images; their stacks are removed behind."""
    if isinstance(swarm, DockerCluster):
        pytest.skip("their variables are those of who types on a host; Docker's command is here")
    deployed: dict[str, None] = {}
    monkeypatch.setenv("REGISTRY", registry.address)

    def deploy(example: str, *flags: str) -> Cluster:
        if example not in deployed:
            debian_images.push_examples(registry.address, EXAMPLES / example, url=registry.url)
        deployed[example] = None
        file = str(EXAMPLES / example / "compose.yml")
        words = ("--detach=false", *flags, "-c", file, example)
        swarm.manager.cli("stack", "deploy", *words, timeout_s=120)
        return swarm

    yield deploy
    for example in deployed:
        swarm.manager.cli("stack", "rm", example)
        assert example not in swarm.manager.cli("stack", "ls")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    if outcome.get_result().failed and "shared_cluster" in getattr(item, "funcargs", {}):  # type: ignore[attr-defined]
        item.funcargs["shared_cluster"].collect()  # type: ignore[attr-defined]
