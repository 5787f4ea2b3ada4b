"""A cluster of the last version goes to this one, host by host, and no container notices."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos_world import Prober, converged, no_leaks, served, web

from swarmlite.testing import Cluster, checkers, sampler

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

World = tuple[Cluster, str]
ROOT = Path(__file__).parents[2]
LAST = "120c567edd"[:7]
"""The commit that stands for the last version."""


@pytest.fixture
def last_version(tmp_path: Path) -> Path:
    """Its sources, to be found before this version's."""
    made = tmp_path / "last"
    made.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", LAST, "src/swarmlite"], capture_output=True
    )
    if archive.returncode:
        pytest.skip(f"this clone has no commit {LAST}, which stands for the last version")
    subprocess.run(["tar", "-x", "-C", str(made)], input=archive.stdout, check=True)
    return made / "src"


def test_nodes_go_to_this_version_one_at_a_time_and_tasks_run_on(
    world: Callable[..., World], last_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Managers first, as `swarm upgrade --check` says; both versions work together meanwhile."""
    monkeypatch.setenv("PYTHONPATH", str(last_version))
    cluster, image = world(3, 1)
    web(cluster, image, 3)
    monkeypatch.delenv("PYTHONPATH")
    before = sampler.containers(cluster.hosts)
    with Prober(cluster.workers[0], timeout_s=15) as prober:
        for number, host in enumerate(cluster.hosts):
            host.stop_daemon()
            host.start_daemon()
            cluster.wait(cluster._all_ready, 90, f"every node to be Ready after {host.name}")
            # Whichever version leads, what is asked for is done.
            host_before = {s for s in before if s.host == host.name}
            gone = checkers.untouched(host_before, sampler.containers(cluster.hosts))
            checkers.none(gone, f"{host.name}: tasks were touched")
            cluster.manager.cli("service", "scale", "-d", f"web={4 + number}")
            converged(cluster, "web", 4 + number, 60)
    checkers.none(checkers.untouched(before, sampler.containers(cluster.hosts)))
    assert prober.failures == []
    said = cluster.manager.try_cli("swarm", "upgrade", "--check")
    assert "every node runs" in said.stdout and "there is no backup" in said.stdout, said
    served(cluster)
    no_leaks(cluster)
