"""A cluster whose only manager is lost, and comes back out of an older backup on a fresh host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from swarmlite.storage import trees
from swarmlite.testing import Cluster, Host, checkers, sampler
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry


@pytest.mark.timeout(900)
@pytest.mark.machine
def test_what_an_older_backup_does_not_know_of_waits_for_a_person(
    cluster_factory: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = cluster_factory(1, 1)
    assert cluster.lan is not None
    with Registry(cluster.lan.gateway) as registry:
        registry.push(debian_images.busybox())
        _restored(cluster, f"{registry.address}/busybox:latest", tmp_path)


def _create(manager: Host, worker: Host, image: str, name: str, replicas: int) -> None:
    there = f"node.hostname=={worker.name}"
    manager.cli("service", "create", "-d", "-q", "--name", name, "--replicas", str(replicas),
                "--constraint", there, image, "sleep", "36000")  # fmt: skip


def _another_clusters_file(manager: Host, saved: Path) -> None:
    """It makes that cluster's manager of the host; nodes of this one do not trust it."""
    manager.cli("swarm", "init", "--advertise-addr", manager.addr)
    manager.cli("backup", str(saved))
    manager.cli("swarm", "leave", "--force")
    manager.cli("restore", str(saved))
    assert manager.cli("node", "ls", "--format", "{{.Hostname}}").split() == [manager.name]
    manager.cli("swarm", "leave", "--force")


def _restored(cluster: Cluster, image: str, tmp_path: Path) -> None:
    manager, worker = cluster.manager, cluster.workers[0]
    passphrase, saved = tmp_path / "passphrase", tmp_path / "saved"
    passphrase.write_text("correct horse\n")
    by = ("--passphrase-file", str(passphrase))
    manager.cli("secret", "create", "password", "-", input="do-not-tell")
    _create(manager, worker, image, "web", 2)
    cluster.wait_running("web", 2)
    assert "Saved cluster" in manager.cli("backup", *by, str(saved))
    assert "exists" in manager.try_cli("backup", *by, str(saved)).stderr
    assert saved.stat().st_mode & 0o777 == 0o600
    assert b"do-not-tell" not in saved.read_bytes()
    assert "is not a swarm manager" in worker.try_cli("backup", str(tmp_path / "w")).stderr
    _create(manager, worker, image, "later", 1)
    cluster.wait_running("later", 1)
    before = sampler.containers([worker])
    assert len(before) == 3

    manager.kill()
    trees.sweep(manager.paths.state_dir)
    manager.boot()
    content = saved.read_bytes()
    damaged, cut, wrong = tmp_path / "damaged", tmp_path / "cut", tmp_path / "wrong"
    damaged.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    cut.write_bytes(content[: len(content) // 2])
    wrong.write_text("another\n")
    for arguments, said in (
        ((*by, str(damaged)), "is damaged"),
        ((*by, str(cut)), "is damaged"),
        ((*by, str(passphrase)), "is not a backup"),
        ((*by, str(tmp_path / "nothing")), "No such file"),
        (("--passphrase-file", str(wrong), str(saved)), "the passphrase is wrong"),
        ((str(saved),), "give --passphrase-file"),
    ):
        refused = manager.try_cli("restore", *arguments)
        assert refused.returncode == 1 and said in refused.stderr, refused
        assert manager.status()["swarm"] == "inactive"
    _another_clusters_file(manager, tmp_path / "other")
    checkers.none(checkers.untouched(before, sampler.containers([worker])))
    told = manager.cli("restore", *by, str(saved))
    assert "swarmlite restore --settle" in told
    assert "already part of a swarm" in manager.try_cli("restore", *by, str(saved)).stderr

    # The worker is back, nothing was touched, and what the backup does not know of is named.
    named = lambda: "restored store does not know" in manager.try_cli("node", "ls").stdout  # noqa: E731
    cluster.wait(named, 90, "the worker to tell of the task that is not known")
    assert "later" not in manager.cli("service", "ls")
    assert "password" in manager.cli("secret", "ls")
    cluster.wait_running("web", 2)
    checkers.none(checkers.untouched(before, sampler.containers([worker])))
    manager.cli("service", "scale", "-d", "web=3")
    cluster.wait_running("web", 3)
    checkers.none(checkers.untouched(before, sampler.containers([worker])))

    manager.cli("restore", "--settle")
    cluster.wait(lambda: len(sampler.containers([worker])) == 3, 60, "the unknown task to go")
    cluster.wait(lambda: not named(), 60, "nothing to be told any more")
    cluster.wait_running("web", 3)
    assert len(before & sampler.containers([worker])) == 2, "those of `web` are as they were"
