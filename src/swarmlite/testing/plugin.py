"""pytest plug-in: the fixtures `cluster` (one a test), `cluster_factory` (any shape, many) and
`loop_watchdog`.

A test asks for another shape by a mark: `@pytest.mark.cluster(managers=1, workers=1)`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .cluster import Cluster
    from .watchdog import Watchdog


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


@pytest.fixture
def loop_watchdog() -> Callable[..., AbstractContextManager[Watchdog]]:
    """`with loop_watchdog(cpu_s=0.01):` fails when a callback held the event loop in it."""
    from .watchdog import watching

    return watching
