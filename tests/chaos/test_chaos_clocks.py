"""Clocks step by an hour, back and forward, on the leader and from one leader to the next: no place
stays empty for longer than its delay and ten seconds, and nothing is begun again without cause.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos_world import converged, leads, no_leaks, web
from stepped_clocks import Clocks

from swarmlite.testing import Cluster, Host, checkers, sampler

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

World = tuple[Cluster, str]
HOUR = 3600.0
DELAY_S = 3.0
REPLICAS = 3


class Places:
    """The places of `web`, watched all the time from outside."""

    def __init__(self, cluster: Cluster, watched: sampler.Sampler) -> None:
        self.cluster, self._watched = cluster, watched

    def live(self) -> dict[str, sampler.Seen]:
        found = sampler.containers(self.cluster.hosts)
        return {seen.place: seen for seen in found if seen.task.startswith("web.")}

    def one_ends(self) -> None:
        """One task's process dies; another fills its place, and the others are left alone."""
        before = self.live()
        assert len(before) == REPLICAS, before
        place = sorted(before)[0]
        os.kill(before[place].pid, signal.SIGKILL)
        others = [seen for seen in before.values() if seen.place != place]
        filled = lambda: self.live().get(place, before[place]) != before[place]  # noqa: E731
        self.cluster.wait(filled, 60, f"another task in {place}")
        self.stands(others)

    def stands(self, others: list[sampler.Seen]) -> None:
        checkers.none(checkers.untouched(others, sampler.containers(self.cluster.hosts)))
        checkers.none(checkers.one_a_place(self._watched.samples, grace_s=10))
        places = {f"web.{number}" for number in range(1, REPLICAS + 1)}
        checkers.none(checkers.filled(self._watched.samples, places, DELAY_S + 10))


def test_places_are_filled_in_time_and_nothing_restarts_whatever_the_clocks_do(
    world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    cluster, image = world(3, 0)
    web(cluster, image, REPLICAS, "--restart-delay", f"{DELAY_S:g}s")
    with sampler.Sampler(cluster.hosts) as watched:
        places = Places(cluster, watched)
        leader = leads(cluster)
        places.one_ends()
        for step_s in (-HOUR, HOUR, 2 * HOUR, 0):  # each from the one before
            before = list(places.live().values())
            clocks.step(leader.name, step_s)
            places.one_ends()
            assert len({*before} & {*places.live().values()}) == REPLICAS - 1

        # What a leader of one time wrote, a leader of another reads.
        for own_s, next_s in ((HOUR, 0.0), (0.0, -HOUR), (-HOUR, HOUR)):
            leader = leads(cluster)
            for host in cluster.hosts:
                clocks.step(host.name, own_s if host is leader else next_s)
            places.one_ends()
            before = list(places.live().values())
            another_leads(cluster, leader)
            places.stands(before)
            places.one_ends()
    converged(cluster, "web", REPLICAS)
    no_leaks(cluster, 40)


def another_leads(cluster: Cluster, leader: Host) -> None:
    """The leader's manager stands still until another has taken over."""
    other = next(host for host in cluster.managers if host is not leader)
    cluster.managers.sort(key=lambda host: host is not other)
    leader.freeze("manager")
    try:
        cluster.wait(lambda: leads(cluster) is not leader, 60, "another leader")
    finally:
        leader.thaw("manager")
    cluster.wait(cluster._all_ready, 60, "every node to be Ready")
