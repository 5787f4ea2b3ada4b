"""Clusters whose hosts are containers of an engine: one of ours, so swarmlite runs in swarmlite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import node_image
import pytest

from swarmlite.errors import FailedPrecondition
from swarmlite.testing import CommandFailed, Host, images
from swarmlite.testing.containers import DockerCluster
from swarmlite.testing.containers.cluster import engine
from swarmlite.testing.containers.leading import leading_to
from swarmlite.testing.oci import docker_archive

pytestmark = pytest.mark.timeout(600)
SERVE = "mkdir -p /w; hostname >/w/index.html; exec httpd -f -h /w"


@pytest.fixture(scope="module")
def node(engine_host: Host) -> str:
    built = node_image.node()
    client = engine()
    client.images.load(docker_archive([built]))
    client.close()
    return built.name


@pytest.fixture(scope="module")
def cluster(node: str) -> Iterator[DockerCluster]:
    with DockerCluster(1, 1, image=node, publish=[8080]) as cluster:
        cluster.load(docker_archive([images.busybox()]))
        yield cluster


def test_services_run_on_every_host_and_answer_through_published_ports(
    cluster: DockerCluster,
) -> None:
    """The mesh of hosts in containers is reached from here."""
    manager = cluster.manager
    create = ("service", "create", "--detach", "--quiet", "--stop-grace-period", "0s")
    options = ("--replicas", "2", "--publish", "8080:80", "--name", "web")
    manager.cli(*create, *options, "busybox:latest", "sh", "-c", SERVE)
    assert sorted(cluster.wait_running("web", 2)) == ["manager1", "worker1"]
    for host in cluster.hosts:
        address = f"http://{host.endpoint(8080)}/"
        body = cluster.wait(lambda url=address: _read(url), 60, f"an answer of {address}")
        assert len(body.strip()) == 12  # a container's host name
        assert cluster.wait(
            lambda host=host: host.get(8080), 30, f"an answer inside of {host.name}"
        )
    manager.cli("service", "rm", "web")
    cluster.wait(lambda: not any(host.containers() for host in cluster.hosts), 60, "the end of web")


def test_published_ports_are_found_where_testcontainers_was_imported_for_another_engine(
    engine_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads where an engine's ports answer when it is imported."""
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.docker_client import DockerClient

    monkeypatch.setattr(testcontainers_config, "tc_host_override", "192.0.2.1")
    with leading_to(f"unix://{engine_host.paths.docker_socket}", engine_host.addr):
        client = DockerClient()
        assert client.host() == engine_host.addr
        client.client.close()
    assert testcontainers_config.tc_host_override == "192.0.2.1"


def test_a_host_that_loses_its_power_comes_back_with_its_disk_and_address(
    cluster: DockerCluster,
) -> None:
    """`kill` and `boot` are a machine's."""
    worker = cluster.workers[0]
    node_id = json.loads(cluster.manager.cli("node", "inspect", worker.name))[0]["ID"]
    worker.kill()
    assert not worker.on
    cluster.wait(lambda: f"{worker.name} Down" in cluster._states(), 60, "the node to be Down")
    with pytest.raises(CommandFailed, match=r"worker1\$ true"):
        worker.run("true")
    worker.boot()
    cluster.wait(lambda: f"{worker.name} Ready" in cluster._states(), 60, "it to be Ready")
    assert json.loads(cluster.manager.cli("node", "inspect", worker.name))[0]["ID"] == node_id
    assert worker.addr in worker.run("ip", "-4", "addr", "show", "eth0").stdout


def test_commands_on_a_host_end_as_they_end(cluster: DockerCluster) -> None:
    """Exit codes, both outputs, input, and a bound on their time."""
    host = cluster.manager
    done = host.run("sh", "-c", "cat; echo err >&2; exit 3", check=False, input="in\n" * 50_000)
    assert (done.returncode, done.stdout, done.stderr) == (3, "in\n" * 50_000, "err\n")
    with pytest.raises(CommandFailed, match="exit 1"):
        host.run("false")
    with pytest.raises(CommandFailed, match=r"no end after 0\.2 s"):
        host.run("sleep", "60", timeout_s=0.2)
    assert host.try_cli("nonsense").returncode == 1


def test_docker_s_api_of_a_host_is_reached_from_here(cluster: DockerCluster) -> None:
    """Its socket stands in a folder of this machine, and more than one connection goes through."""
    import docker

    client = docker.DockerClient(base_url=f"unix://{cluster.manager.paths.docker_socket}")
    try:
        assert {node.attrs["Description"]["Hostname"] for node in client.nodes.list()} == {
            "manager1", "worker1",
        }  # fmt: skip
        said = client.containers.run("busybox:latest", ["echo", "out"], remove=True)
        assert said == b"out\n"
    finally:
        client.close()


def test_a_cable_that_is_out_and_in_again(cluster: DockerCluster) -> None:
    """`isolate` and `heal` leave the address as it was."""
    worker = cluster.workers[0]
    cluster.isolate(worker)
    cluster.wait(lambda: f"{worker.name} Down" in cluster._states(), 60, "the node to be Down")
    cluster.heal()
    cluster.wait(lambda: f"{worker.name} Ready" in cluster._states(), 60, "it to be Ready")
    assert worker.addr in worker.run("ip", "-4", "addr").stdout


def test_nothing_stays_behind(node: str, engine_host: Host) -> None:
    """Neither in the engine nor here, also where a cluster does not come up."""
    client = engine()
    try:
        before = _everything(client, engine_host)
        made = DockerCluster(1, 0, image=node, swarm=False)
        with pytest.raises(CommandFailed, match="not part of a swarm"), made as cluster:
            folder = cluster.manager.paths.run_dir
            assert folder.exists()
            cluster.manager.cli("swarm", "leave")
        assert not folder.exists()
        assert "swarmlited" in (cluster.diagnostics_dir / "manager1/swarmlited.log").read_text()
        assert _everything(client, engine_host) == before
    finally:
        client.close()
        subprocess.run(["rm", "-rf", str(cluster.diagnostics_dir)], check=True)


INI = """
[pytest]
swarmlite_managers = {managers}
swarmlite_workers = {workers}
swarmlite_publish = 8080
swarmlite_images = busybox:latest
"""
SUITE = """
def test_a_service_runs(swarmlite_docker_cluster):
    hosts = swarmlite_docker_cluster.hosts
    create = ("service", "create", "--detach", "--quiet", "--name", "web", "--mode", "global")
    swarmlite_docker_cluster.manager.cli(*create, "busybox:latest", "sleep", "600")
    runs = swarmlite_docker_cluster.wait_running("web", len(hosts), 120)
    assert sorted(runs) == sorted(host.name for host in hosts)
    for host in hosts:
        assert host.endpoint(8080).partition(":")[2].isdigit()
"""


@pytest.mark.parametrize(
    ("managers", "workers"), [(1, 0), pytest.param(3, 2, marks=pytest.mark.engines)]
)
def test_a_project_s_own_pytest_has_the_cluster_as_a_fixture(
    node: str, engine_host: Host, tmp_path: Path, managers: int, workers: int
) -> None:
    """Its configuration says how many hosts, their ports and images; nothing stays behind."""
    (tmp_path / "pytest.ini").write_text(INI.format(managers=managers, workers=workers))
    (tmp_path / "test_own.py").write_text(SUITE)
    client = engine()
    try:
        client.images.load(docker_archive([images.busybox()]))
        before = _everything(client, engine_host)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "SWARMLITE_NODE_IMAGE": node,
                "TESTCONTAINERS_RYUK_DISABLED": "true",  # its image is on Docker Hub
            },
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "1 passed" in done.stdout
        assert _everything(client, engine_host) == before
    finally:
        client.close()


@pytest.mark.engines
def test_three_managers_and_two_workers_go_on_without_one_of_each(node: str) -> None:
    """The card's cluster: five hosts, of which a manager and a worker lose their power."""
    with DockerCluster(managers=3, workers=2, image=node) as cluster:
        cluster.load(docker_archive([images.busybox()]))
        create = ("service", "create", "--detach", "--quiet", "--name", "web", "--replicas", "5")
        cluster.manager.cli(*create, "busybox:latest", "sleep", "600")
        assert len(set(cluster.wait_running("web", 5, 60))) == 5
        cluster.managers[2].kill()
        cluster.workers[1].kill()
        left = {"manager1", "manager2", "worker1"}
        cluster.wait(lambda: set(cluster.running("web")) <= left, 120, "tasks to leave the dead")
        assert set(cluster.wait_running("web", 5, 120)) == left


def test_without_an_engine_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, with where it looked."""
    # Nobody listens at port 1. By a path, docker-py would leave a socket unclosed.
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(FailedPrecondition, match="no Docker engine answers"):
        DockerCluster(1, 0).up()


def _read(url: str) -> str:
    """The body. Raises OSError, which tells who answered what if it is no server of ours."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            said = f"{dict(error.headers)} {error.read(1000)!r}"
        raise OSError(f"{url}: {error.code} {error.reason}, {said}") from error


def _everything(client: object, host: Host) -> list[str]:
    found = [
        *(each.id for each in client.containers.list(all=True)),  # type: ignore[attr-defined]
        *(each.id for each in client.networks.list()),  # type: ignore[attr-defined]
        *(each.id for each in client.volumes.list()),  # type: ignore[attr-defined]
    ]
    groups = host.run("find", "/sys/fs/cgroup", "-path", f"*{host.cgroup_parent}/*", "-type", "d")
    return sorted(found) + sorted(groups.stdout.split())
