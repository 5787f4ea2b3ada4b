"""Names, VIPs and tasks' addresses on an overlay: one service for all of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from swarm_world import SERVE, create, fetch, in_container, remove_everything

from swarmlite.testing import Cluster

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def web(shared_cluster: Cluster, busybox: str) -> Iterator[Cluster]:
    """A service `web` of three tasks and a global `client`, on one overlay network."""
    swarm = shared_cluster
    swarm.manager.cli("network", "create", "-d", "overlay", "--ipv6", "front")
    create(
        swarm, "--name", "web", "--network", "front", "--replicas", "3", busybox, "sh", "-c", SERVE
    )
    create(
        swarm,
        "--name",
        "client",
        "--network",
        "front",
        "--mode",
        "global",
        busybox,
        "sleep",
        "3600",
    )
    swarm.wait_running("web", 3)
    swarm.wait_running("client", 3)
    yield swarm
    with swarm.control() as control:
        remove_everything(swarm, control)


def test_service_name_answers_through_the_vip_from_every_host(web: Cluster) -> None:
    ask = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 web 80 | tail -n 1"
    loop = f"for n in 1 2 3 4 5 6 7 8 9 10 11 12; do {ask}; done"
    for host in web.hosts:
        answers = set(in_container(host, "client.", "sh", "-c", loop).split())
        assert len(answers) == 3, f"{host.name} reached {answers}"


def test_tasks_name_gives_every_address_and_each_is_reached(web: Cluster) -> None:
    shown = in_container(web.workers[0], "client.", "nslookup", "-type=a", "tasks.web.")
    addresses = {
        line.split()[-1].strip()
        for line in shown.split("Name:", 1)[1].splitlines()
        if line.startswith("Address") and "127.0.0.11" not in line
    }
    assert len(addresses) == 3
    for address in addresses:
        assert fetch(web.workers[0], "client.", address)


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this kernel has no IPv6")
def test_names_have_ipv6_addresses_that_are_reached_from_every_host(web: Cluster) -> None:
    def addresses(name: str) -> set[str]:
        shown = in_container(web.workers[0], "client.", "nslookup", "-type=aaaa", name)
        lines = shown.split("Name:", 1)[1].splitlines()
        return {line.split()[-1] for line in lines if line.startswith("Address")}

    (vip,) = addresses("web.")
    tasks = addresses("tasks.web.")
    assert len(tasks) == 3 and vip not in tasks
    for host in web.hosts:
        for address in tasks:
            in_container(host, "client.", "ping", "-c", "1", "-W", "5", address)


def test_names_of_other_networks_are_not_answered(web: Cluster, busybox: str) -> None:
    web.manager.cli("network", "create", "-d", "overlay", "back")
    create(web, "--name", "stranger", "--network", "back", "--constraint", "node.hostname==worker1",
           busybox, "sleep", "3600")  # fmt: skip
    web.wait_running("stranger", 1)
    shown = in_container(web.workers[0], "stranger.", "sh", "-c", "nslookup web. || echo none")
    assert "none" in shown


def test_a_network_in_use_is_not_removed_and_a_free_one_is(web: Cluster) -> None:
    refused = web.manager.try_cli("network", "rm", "front")
    assert refused.returncode != 0
    assert "in use" in refused.stderr
    web.manager.cli("service", "rm", "web", "client")
    web.wait(
        lambda: web.manager.try_cli("network", "rm", "front").returncode == 0, 60, "front to go"
    )
