"""pytest plug-in: clusters as fixtures, and a watchdog.

`cluster` is one a test, of namespaces; a test asks for another shape by a mark:
`@pytest.mark.cluster(managers=1, workers=1)`. `cluster_factory` makes many. Both need root.
`swarmlite_docker_cluster` is one a run, in a Docker engine; the project's pytest configuration has
its shape. `loop_watchdog` sees what holds an event loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .cluster import Cluster
    from .containers import DockerCluster
    from .watchdog import Watchdog

OPTIONS = {
    "swarmlite_managers": ("managers of swarmlite_docker_cluster", "string", "1"),
    "swarmlite_workers": ("workers of it", "string", "2"),
    "swarmlite_publish": ("ports that its hosts publish: host.endpoint(PORT)", "args", []),
    "swarmlite_images": ("images of the engine, put on every host", "args", []),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the project's configuration may say."""
    for name, (meaning, kind, default) in OPTIONS.items():
        parser.addini(name, meaning, type=kind, default=default)  # type: ignore[arg-type]


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark, so that --strict-markers knows it."""
    config.addinivalue_line(
        "markers", "cluster(managers, workers, ...): the shape of the `cluster` fixture"
    )


@pytest.fixture
def cluster_factory() -> Iterator[Callable[..., Cluster]]:
    """Make clusters of any shape; each is taken down after the test."""
    # Imported here: a plug-in is loaded in every pytest run of whoever installs the package.
    from .cluster import Cluster

    if os.geteuid() != 0:
        pytest.skip("a cluster of namespaces needs root")
    with ExitStack() as stack:
        count = 0

        def make(*args: int, **options: object) -> Cluster:
            nonlocal count
            count += 1
            options.setdefault("name", f"t{os.getpid()}{'abcdefgh'[count - 1]}")
            return stack.enter_context(Cluster(*args, **options))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def cluster(request: pytest.FixtureRequest, cluster_factory: Callable[..., Cluster]) -> Cluster:
    """One manager and two workers, or what the test's `cluster` mark asks for."""
    mark = request.node.get_closest_marker("cluster")
    return cluster_factory(**(mark.kwargs if mark else {}))


@pytest.fixture(scope="session")
def swarmlite_docker_cluster(pytestconfig: pytest.Config) -> Iterator[DockerCluster]:
    """A swarm in the engine of DOCKER_HOST; one manager and two workers unless configured.

    Where no engine answers the tests fail, and say so: a run that tests nothing is not green.
    """
    from .containers import DockerCluster

    ini = pytestconfig.getini
    managers, workers = int(ini("swarmlite_managers")), int(ini("swarmlite_workers"))
    ports = [int(port) for port in ini("swarmlite_publish")]
    with DockerCluster(managers, workers, publish=ports) as cluster:
        for image in ini("swarmlite_images"):
            cluster.load(image)
        yield cluster


@pytest.fixture
def loop_watchdog() -> Callable[..., AbstractContextManager[Watchdog]]:
    """`with loop_watchdog(cpu_s=0.01):` fails when a callback held the event loop in it."""
    from .watchdog import watching

    return watching
