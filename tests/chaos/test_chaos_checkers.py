"""The checkers are proved: a bug put in on purpose turns each of them red.

One cluster serves them all. A bug is turned on and off by a file; its agents then start again, and
what the bug left behind is cleared up before the next one has its turn.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import planted_bugs
import pytest
from chaos_world import Stated, converged, forget, no_leaks, served, used, web
from steady_load import Load

from swarmlite.testing import Cluster, CommandFailed, Host, checkers, sampler
from swarmlite.testing.writing import Writer

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

World = tuple[Cluster, str]


class Planted:
    """The cluster, and its bugs."""

    def __init__(self, cluster: Cluster, image: str, switch: Path) -> None:
        self.cluster, self.image = cluster, image
        self.seen: dict[str, str] = {}
        self._switch = switch

    @contextmanager
    def bug(self, name: str) -> Iterator[Cluster]:
        """On while inside; then the cluster is whole again, which the same checkers say."""
        assert name in planted_bugs.BUGS
        self._switch.write_text(name)
        try:
            yield self.cluster
        finally:
            self._switch.write_text("")
        self.whole()
        self.seen[name] = "seen"

    def whole(self) -> None:
        """As it was: two tasks on the workers, and nothing else."""
        for host in self.cluster.hosts:
            if host.machine is None:
                host.boot()
            else:  # what it was told while the bug was on it is told again
                host.signal_process("agent", signal.SIGKILL)
        self.cluster.heal()
        self.cluster.wait(self.cluster._all_ready, 60, "every node to be Ready")
        self.cluster.wait(lambda: self.scaled(2), 60, "the service to be scaled")
        converged(self.cluster, "web", 2, 60)
        converged(self.cluster, "client", len(self.cluster.hosts), 60)
        served(self.cluster)
        no_leaks(self.cluster, 40)

    def with_a_task(self) -> tuple[Host, Host]:
        """A worker that has a task of `web`, and the other one."""
        one, two = self.cluster.workers
        return (one, two) if web_on(one) else (two, one)

    def scaled(self, replicas: int) -> bool:
        """Whether the managers took it."""
        self.cluster.manager.cli("service", "scale", "-d", f"web={replicas}")
        return True


def web_on(host: Host) -> list[sampler.Seen]:
    return [seen for seen in sampler.containers([host]) if seen.task.startswith("web.")]


@pytest.fixture(scope="module")
def planted(
    worlds: Callable[..., World], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Planted]:
    folder = tmp_path_factory.mktemp("planted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        switch = planted_bugs.switch(folder)
        options = {"init_options": ["--dispatcher-heartbeat", "1s"]}
        cluster, image = worlds(1, 2, **options)
        web(cluster, image, 2, "--constraint", "node.role==worker")
        made = Planted(cluster, image, switch)
        yield made
        print(f"bugs that were seen: {', '.join(made.seen)}")


def test_a_kept_sandbox_is_seen_as_a_leak(planted: Planted) -> None:
    with planted.bug("keeps_sandboxes") as cluster:
        planted.scaled(6)
        converged(cluster, "web", 6)
        planted.scaled(1)
        converged(cluster, "web", 1)
        with pytest.raises(CommandFailed, match=r"sandboxes of \d containers"):
            no_leaks(cluster, 3)


def test_a_copy_that_is_not_stopped_is_seen_in_its_place(planted: Planted) -> None:
    with planted.bug("keeps_containers") as cluster:
        going, staying = planted.with_a_task()
        cluster.isolate(going)
        cluster.wait(lambda: len(web_on(staying)) == 2, 60, "both tasks on one worker")
        with sampler.Sampler(cluster.hosts) as watched:
            cluster.heal()
            double = lambda: checkers.one_a_place(watched.samples, grace_s=10)  # noqa: E731
            assert cluster.wait(double, 60, "a place that stays filled twice")


def test_a_container_begun_again_is_seen_as_touched(planted: Planted) -> None:
    with planted.bug("begins_again") as cluster:
        before = sampler.containers(cluster.hosts)
        cluster.workers[0].signal_process("agent", signal.SIGKILL)
        touched = lambda: checkers.untouched(before, sampler.containers(cluster.hosts))  # noqa: E731
        assert cluster.wait(touched, 60, "the agent that forgets to begin again")


def test_a_manager_that_is_impatient_is_seen_by_what_it_replaces(planted: Planted) -> None:
    with planted.bug("is_impatient") as cluster:
        before = sampler.containers(cluster.hosts)
        cluster.manager.signal_process("manager", signal.SIGKILL)
        touched = lambda: checkers.untouched(before, sampler.containers(cluster.hosts))  # noqa: E731
        assert cluster.wait(touched, 60, "tasks that are replaced without cause")


def test_a_write_that_is_lost_after_it_was_acknowledged_is_seen(planted: Planted) -> None:
    with planted.bug("loses_writes") as cluster:
        with Writer(cluster.managers) as writer:
            cluster.wait(lambda: len(writer.written) > 5, 60, "writes")
        with pytest.raises(CommandFailed, match=r"acknowledged writes were lost:\nc3"):
            forget(cluster, writer.written, patience_s=2)
        forget(cluster, [name for name in writer.written if not name.endswith("3")])


def test_a_dead_worker_that_nobody_misses_is_seen(planted: Planted) -> None:
    with planted.bug("misses_nobody") as cluster:
        planted.with_a_task()[0].kill()
        with pytest.raises(CommandFailed, match=r"for 2 containers of web"):
            converged(cluster, "web", 2, 12)


def test_a_backend_that_left_and_is_still_asked_is_seen(planted: Planted) -> None:
    with planted.bug("keeps_backends") as cluster, Load(cluster, planted.image) as load:
        load.answered(5)
        planted.scaled(1)
        converged(cluster, "web", 1)
        with pytest.raises(CommandFailed, match=r"answers to clients"):
            served(cluster, 6)
        cluster.wait(load.violations, 60, "a request to a backend that left")
    with pytest.raises(CommandFailed, match=r"the steady load failed(.|\n)*a request to web"):
        load.check()


def test_a_name_that_is_not_answered_is_seen(planted: Planted) -> None:
    with planted.bug("loses_names") as cluster, Load(cluster, planted.image) as load:
        load.name_s = 2
        cluster.wait(load.violations, 60, "a name that is lost")
    with pytest.raises(CommandFailed, match=r"web was not answered"):
        load.check()


def test_a_state_that_falls_is_seen(planted: Planted) -> None:
    with planted.bug("lets_states_fall") as cluster, Stated(cluster) as stated:
        cluster.wait(lambda: stated.rounds > 1, 60, "what is stored")
        cluster.workers[0].signal_process("agent", signal.SIGKILL)  # it reports its tasks again
        fallen = lambda: checkers.monotonic(stated.seen)  # noqa: E731
        assert cluster.wait(fallen, 60, "a task whose state fell")


def test_descriptors_that_are_not_closed_are_seen(planted: Planted) -> None:
    with planted.bug("leaks_descriptors") as cluster:
        before = used(cluster)
        for replicas in (6, 1):
            planted.scaled(replicas)
            converged(cluster, "web", replicas)
        grown = checkers.bounded(before, used(cluster))
        assert any("descriptors" in line for line in grown), (before, used(cluster))
    checkers.none(checkers.bounded(before, used(planted.cluster)), "after the bug:")
