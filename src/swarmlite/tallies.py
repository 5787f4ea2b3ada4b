"""Counters of one process, for whoever watches it: a number that grows, and how long things took.

Counting costs an addition, and nobody looks before somebody asks for the figures: what is told to
Prometheus is read from these at each scrape. A leaf: every room may count.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

SHORT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LONG_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Durations:
    """How often something took how long: counts by upper bound, and the sum of all."""

    __slots__ = ("bounds", "counts", "sum_s")

    def __init__(self, bounds: tuple[float, ...] = SHORT_S) -> None:
        """`bounds` are seconds, rising; what takes longer than the last is counted too."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum_s = 0.0

    def took(self, seconds: float) -> None:
        """It happened, and took so long."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum_s += seconds

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Counts how long the block took, whatever became of it."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.took(time.monotonic() - begun)


class Outcomes:
    """How often something ended how ("done", "failed"), and how long the good ends took."""

    def __init__(self, bounds: tuple[float, ...] = SHORT_S) -> None:
        """As Durations."""
        self.ended: defaultdict[str, int] = defaultdict(int, done=0, failed=0)
        self.durations = Durations(bounds)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Counts the block: done, or failed by what it raises."""
        begun = time.monotonic()
        try:
            yield
        except BaseException:
            self.ended["failed"] += 1
            raise
        self.ended["done"] += 1
        self.durations.took(time.monotonic() - begun)
