"""Plain containers beside the tasks of a swarm, on one command line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from swarm_world import remove_everything

from swarmlite.testing import Cluster, images
from swarmlite.testing.registry import Registry

pytestmark = pytest.mark.timeout(240)

SERVE = "mkdir -p /tmp/w; hostname > /tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w"
ASK = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 web 80"


@pytest.fixture(scope="module")
def web(shared_cluster: Cluster, busybox: str) -> Iterator[Cluster]:
    """A service `web` of two tasks on an attachable network; plain containers are removed."""
    swarm, manager = shared_cluster, shared_cluster.manager
    manager.cli("network", "create", "-d", "overlay", "--attachable", "front")
    line = ("service", "create", "-d", "-q", "--name", "web", "--network", "front")
    manager.cli(*line, "--replicas", "2", busybox, "sh", "-c", SERVE)
    swarm.wait_running("web", 2)
    yield swarm
    for host in swarm.hosts:
        if left := host.cli("ps", "-aq", "--filter", "label=plain").split():
            host.cli("rm", "-f", "-v", *left)
    with swarm.control() as control:
        remove_everything(swarm, control)


def test_a_plain_container_on_an_attachable_network_reaches_a_service(
    web: Cluster, busybox: str
) -> None:
    """From a worker too: its address comes from the managers, the service's name from its DNS."""
    for host in web.hosts[:2]:
        host.cli("pull", "-q", busybox)
        line = ("run", "--rm", "-l", "plain", "--network", "front", busybox, "sh", "-c", ASK)
        assert "200 OK" in host.cli(*line)


def test_ps_shows_plain_containers_beside_tasks(web: Cluster, busybox: str) -> None:
    """A task's container can be removed by nobody but the swarm, which replaces it."""
    host = next(h for h in web.hosts if "web." in h.cli("ps"))
    host.cli("pull", "-q", busybox)
    host.cli("run", "-d", "-l", "plain", "--name", "beside", busybox, "sleep", "1000")
    names = host.cli("ps", "--format", "{{.Names}}").split()
    assert "beside" in names
    assert any(name.startswith("web.") for name in names)
    task = next(name for name in names if name.startswith("web."))
    assert json.loads(host.cli("inspect", task))[0]["Config"]["Labels"][
        "com.docker.swarm.service.name"
    ] == "web"  # fmt: skip
    host.try_cli("rm", "-f", task)
    web.wait_running("web", 2)


def test_networks_of_the_swarm_and_of_the_host_are_one_list(web: Cluster) -> None:
    manager, worker = web.manager, web.hosts[1]
    form = "{{.Name}} {{.Driver}} {{.Scope}}"
    shown = set(manager.cli("network", "ls", "--format", form).splitlines())
    assert {"front overlay swarm", "bridge bridge local", "host host local"} <= shown
    assert "bridge bridge local" in worker.cli("network", "ls", "--format", form)
    made = manager.cli("network", "create", "mine").strip()
    try:
        assert json.loads(manager.cli("inspect", made))[0]["Scope"] == "local"
        assert json.loads(manager.cli("network", "inspect", "front"))[0]["Scope"] == "swarm"
    finally:
        manager.cli("network", "rm", "mine")
    refused = worker.try_cli("network", "create", "-d", "overlay", "no")
    assert refused.returncode == 1
    assert "not a swarm manager" in refused.stderr


def test_inspect_finds_objects_of_the_swarm_and_of_the_host(web: Cluster) -> None:
    manager = web.manager
    for ref, kind in (("web", "service"), ("front", "network"), ("self", "node")):
        line = ("inspect", "--type", kind, ref)
        assert len(json.loads(manager.cli(*line))) == 1
    task = manager.cli("service", "ps", "-q", "-f", "desired-state=running", "web").split()[0]

    def runs() -> bool:
        (found,) = json.loads(manager.cli("inspect", task))
        return bool(found["Status"]["State"] == "running")

    web.wait(runs, 30, "the task to run")


def test_run_fetches_an_image_that_is_missing(shared_cluster: Cluster, registry: Registry) -> None:
    """Docker's words about it are on standard error, so that the output is the container's own."""
    worker, ref = shared_cluster.hosts[1], registry.push(images.busybox(), "missing:1")
    result = worker.try_cli("run", "--rm", ref, "echo", "hi")
    assert (result.returncode, result.stdout) == (0, "hi\n"), result.stderr
    assert result.stderr.startswith(f"Unable to find image '{ref}' locally\n")
    never = worker.try_cli("run", "--rm", "--pull", "never", f"{registry.address}/none:1", "true")
    assert never.returncode == 125
    assert "Untagged" in worker.cli("rmi", ref)
