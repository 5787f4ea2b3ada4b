"""Overlays, names, VIPs, ingress and egress across three hosts."""

import pytest

from swarmlite.testing import Cluster, Host

pytestmark = pytest.mark.timeout(120)

SERVE = "mkdir -p /tmp/w; hostname > /tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w"


def create(swarm: Cluster, *args: str) -> None:
    options = ("--detach", "--quiet", "--stop-grace-period", "1s")
    swarm.manager.cli("service", "create", *options, *args)


def in_container(host: Host, service: str, *command: str) -> str:
    """Run a command in the first container of a service on a host."""
    shown = host.cli("container", "ls", "--no-trunc", "--format", "{{.ID}} {{.Names}}")
    container = next(
        line.split()[0] for line in shown.splitlines() if line.split()[1].startswith(service)
    )
    return host.cli("container", "exec", container, *command)


def fetch(host: Host, service: str, target: str) -> str:
    """What http://TARGET/ answers a container; by nc, since a static busybox's wget crashes."""
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {target} 80"
    return in_container(host, service, "sh", "-c", ask).rpartition("\n\n")[2]


@pytest.fixture
def web(swarm: Cluster, busybox: str) -> Cluster:
    """A service `web` of three tasks and a global `client`, on one overlay network."""
    swarm.manager.cli("network", "create", "-d", "overlay", "front")
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
    return swarm


def test_service_name_answers_through_the_vip_from_every_host(web: Cluster) -> None:
    for host in web.hosts:
        answers = set()
        for _ in range(12):
            answers.add(fetch(host, "client.", "web"))
        assert len(answers) == 3, f"{host.name} reached {answers}"


def test_tasks_name_gives_every_address_and_each_is_reached(web: Cluster) -> None:
    shown = in_container(web.workers[0], "client.", "nslookup", "tasks.web.")
    addresses = {
        line.split()[-1].strip()
        for line in shown.split("Name:", 1)[1].splitlines()
        if line.startswith("Address") and "127.0.0.11" not in line
    }
    assert len(addresses) == 3
    for address in addresses:
        assert fetch(web.workers[0], "client.", address)


def test_names_of_other_networks_are_not_answered(web: Cluster, busybox: str) -> None:
    web.manager.cli("network", "create", "-d", "overlay", "back")
    create(web, "--name", "stranger", "--network", "back", "--constraint", "node.hostname==worker1",
           busybox, "sleep", "3600")  # fmt: skip
    web.wait_running("stranger", 1)
    shown = in_container(web.workers[0], "stranger.", "sh", "-c", "nslookup web. || echo none")
    assert "none" in shown


def test_published_port_answers_on_every_host(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "site", "--publish", "8080:80", "--replicas", "2",
           "--constraint", "node.role==worker", busybox, "sh", "-c", SERVE)  # fmt: skip
    swarm.wait_running("site", 2)
    for host in swarm.hosts:
        answers = {
            swarm.wait(lambda h=host: h.get(8080), 10, f"{host.name}:8080") for _ in range(8)
        }
        assert len(answers) == 2, f"{host.name} reached {answers}"
        local = host.run("curl", "-s", "-m", "3", "http://127.0.0.1:8080/").stdout
        assert local in answers


def test_egress_reaches_what_the_host_reaches(swarm: Cluster, busybox: str) -> None:
    swarm.manager.cli("network", "create", "-d", "overlay", "front")
    create(swarm, "--name", "out", "--network", "front", "--constraint", "node.hostname==worker1",
           busybox, "sleep", "3600")  # fmt: skip
    swarm.wait_running("out", 1)
    assert swarm.lan is not None
    in_container(swarm.workers[0], "out.", "ping", "-c", "1", "-W", "2", swarm.lan.gateway)


def test_a_network_in_use_is_not_removed_and_a_free_one_is(web: Cluster) -> None:
    refused = web.manager.try_cli("network", "rm", "front")
    assert refused.returncode != 0
    assert "in use" in refused.stderr
    web.manager.cli("service", "rm", "web", "client")
    web.wait(
        lambda: web.manager.try_cli("network", "rm", "front").returncode == 0, 20, "front to go"
    )
