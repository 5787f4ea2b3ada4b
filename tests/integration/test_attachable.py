"""Plain containers on an attachable overlay, beside the tasks of a service, on three real hosts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from swarmlite.testing import Cluster, Host

pytestmark = pytest.mark.timeout(240)

SERVE = "mkdir -p /tmp/w; hostname > /tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w"


def start(host: Host, name: str, image: str, *options: str) -> str:
    """A plain container on `front` that serves its host name."""
    named = ("--name", name, "--hostname", f"{name}-host", "--network", "front")
    made = host.cli("run", "-d", *named, *options, image, "sh", "-c", SERVE)
    return made.splitlines()[-1].strip()


def fetch(host: Host, container: str, target: str) -> str:
    """What http://TARGET/ answers a container."""
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {target} 80"
    said = host.cli("container", "exec", container, "sh", "-c", ask)
    return said.replace("\r", "").rpartition("\n\n")[2].strip()


def refusal(host: Host, *args: str) -> str:
    """What a command that fails says."""
    done = host.try_cli(*args)
    assert done.returncode != 0, done.stdout
    return done.stderr


@pytest.fixture
def front(swarm: Cluster, busybox: str) -> Iterator[Cluster]:
    swarm.manager.cli(
        "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.66.0.0/24", "front"
    )
    yield swarm
    for host in swarm.hosts:
        left = host.cli("container", "ls", "-a", "--filter", "network=front", "-q").split()
        if left:
            host.cli("container", "rm", "-f", *left)


def test_plain_containers_and_tasks_of_a_service_reach_each_other_by_name(
    front: Cluster, busybox: str
) -> None:
    manager, one, two = front.hosts
    options = ("--detach", "--quiet", "--stop-grace-period", "0s", "--network", "front")
    manager.cli("service", "create", *options, "--name", "web", busybox, "sh", "-c", SERVE)
    front.wait_running("web", 1)
    start(one, "db", busybox, "--network-alias", "data", "--ip", "10.66.0.77")
    short = start(two, "app", busybox)[:12]
    front.wait(lambda: fetch(two, "app", "db") == "db-host", 60, "app to reach db by its name")
    front.wait(lambda: fetch(two, "app", "data") == "db-host", 60, "app to reach db by its alias")
    front.wait(lambda: fetch(one, "db", short) == "app-host", 60, "db to reach app by its id")
    assert fetch(one, "db", "web"), "the service's VIP answers a plain container"
    assert fetch(two, "app", "10.66.0.77") == "db-host"
    # No task to anyone, and the network is in use.
    shown = manager.cli("node", "ps", *(host.name for host in front.hosts))
    assert "app" not in shown and "db" not in shown
    manager.cli("service", "rm", "web")
    refused = refusal(manager, "network", "rm", "front")
    assert "front is in use by container" in refused


def test_an_address_goes_back_with_its_container(front: Cluster, busybox: str) -> None:
    _, one, two = front.hosts
    start(one, "first", busybox, "--ip", "10.66.0.50")
    named = ("--name", "second", "--network", "front", "--ip", "10.66.0.50")
    taken = refusal(two, "run", "-d", *named, busybox, "sleep", "60")
    assert "10.66.0.50 is already in use" in taken
    third = ("--name", "third", "--network", "front", "--ip", "10.67.0.1")
    outside = refusal(two, "run", "-d", *third, busybox, "true")
    assert "outside of the subnet of network front" in outside
    one.cli("container", "rm", "-f", "first")
    two.cli("container", "rm", "-f", *two.cli("container", "ls", "-aq").split() or ["none"])
    start(two, "second", busybox, "--ip", "10.66.0.50")


def test_a_container_that_is_renamed_is_found_by_its_new_name_at_once(
    front: Cluster, busybox: str
) -> None:
    """On other hosts as well; its alias stays, and nobody is called as it was."""
    _, one, two = front.hosts
    start(one, "before", busybox, "--network-alias", "data")
    start(two, "asks", busybox)
    front.wait(lambda: fetch(two, "asks", "before") == "before-host", 60, "its first name")
    one.cli("rename", "before", "after")
    front.wait(lambda: fetch(two, "asks", "after") == "before-host", 60, "its new name")
    front.wait(lambda: fetch(two, "asks", "data") == "before-host", 60, "its alias")
    old = ("container", "exec", "asks", "nslookup", "before.")
    front.wait(lambda: two.try_cli(*old).returncode != 0, 60, "its old name to be gone")
