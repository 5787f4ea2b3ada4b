"""Real clusters for faults; `make chaos` runs these, `make test` does not."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from chaos_world import Whole

from swarmlite.testing import Cluster
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

World = tuple[Cluster, str]
_letters = itertools.cycle("abcdefghijklmnopqrstuvwxyz")
"""What a cluster left for a person to read is not overwritten by the next one."""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    if outcome.get_result().failed:  # type: ignore[attr-defined]
        item.failed = True  # type: ignore[attr-defined]


@contextmanager
def _making(request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    if os.geteuid() != 0:
        pytest.skip("a cluster of namespaces needs root")
    with ExitStack() as stack:

        def make(managers: int = 1, workers: int = 2, **options: object) -> World:
            name = f"c{os.getpid()}{next(_letters)}"
            cluster = stack.enter_context(Cluster(managers, workers, name=name, **options))  # type: ignore[arg-type]
            clusters.append(cluster)
            assert cluster.lan is not None
            registry = stack.enter_context(Registry(cluster.lan.gateway))
            registry.push(debian_images.busybox())
            return cluster, f"{registry.address}/busybox:latest"

        clusters: list[Cluster] = []
        yield make
        nodes = request.session.items if request.scope == "module" else [request.node]
        if any(getattr(node, "failed", False) for node in nodes):
            for cluster in clusters:
                print(f"what it left: {cluster.collect()}")


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest) -> Iterator[_Shared]:
    """The cluster of most tests: a manager and two workers."""
    made = _Shared()
    yield made
    made.close()


@pytest.fixture
def whole(request: pytest.FixtureRequest, shared: _Shared) -> Iterator[Whole]:
    """That cluster with `web` and its clients, whole and under a steady load; after a test that
    failed it is made again.
    """
    whole = shared.whole(request)
    whole_again = False
    try:
        with whole.loaded():
            yield whole
        whole_again = not getattr(request.node, "failed", False)
    finally:
        if not whole_again:
            print(f"what it left: {shared.cluster.collect()}")
            shared.close()


class _Shared:
    def __init__(self) -> None:
        self.cluster: Cluster
        self._stack = ExitStack()
        self._whole: Whole | None = None

    def whole(self, request: pytest.FixtureRequest) -> Whole:
        if self._whole is None:
            make = self._stack.enter_context(_making(request))
            self.cluster, image = make(1, 2)
            self._whole = Whole(self.cluster, image)
        else:
            self._whole.again()
        return self._whole

    def close(self) -> None:
        self._whole = None
        self._stack.close()


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    """Makes a cluster and a registry beside it; the cluster and an image of busybox."""
    with _making(request) as make:
        yield make


@pytest.fixture(scope="module")
def worlds(request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    """As `world`, for all tests of a module."""
    with _making(request) as make:
        yield make
