"""Overlays, names, VIPs, ingress and egress across three hosts."""

import pytest
from swarm_world import SERVE, answered, create, in_container

from swarmlite.testing import Cluster, Host

pytestmark = pytest.mark.timeout(240)


def test_published_port_answers_on_every_host(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "site", "--publish", "8080:80", "--replicas", "2",
           "--constraint", "node.role==worker", busybox, "sh", "-c", SERVE)  # fmt: skip
    swarm.wait_running("site", 2)
    for host in swarm.hosts:
        answers = {
            swarm.wait(lambda h=host: h.get(8080), 60, f"{host.name}:8080") for _ in range(8)
        }
        assert len(answers) == 2, f"{host.name} reached {answers}"
        assert answered(host, "http://127.0.0.1:8080/") in answers


@pytest.mark.machine
def test_a_network_is_probed_between_its_nodes(swarm: Cluster, busybox: str) -> None:
    """All is well; then one host's own firewall takes what another one sends, and is named."""
    swarm.manager.cli("network", "create", "-d", "overlay", "front")
    create(swarm, "--name", "here", "--network", "front", "--mode", "global",
           busybox, "sleep", "3600")  # fmt: skip
    swarm.wait_running("here", 3)
    well = swarm.manager.cli("network", "check", "front")
    assert "all 3 nodes hear each other, packets of" in well
    one, two = swarm.workers[:2]
    table = "table inet mine"
    two.run("nft", f"{table} {{ chain in {{ type filter hook input priority 10; ip saddr "
            f"{one.addr} udp dport 4789 drop; }}; }}")  # fmt: skip
    try:
        said = swarm.manager.try_cli("network", "check", "front")
    finally:
        two.run("nft", f"delete {table}")
    assert said.returncode == 1
    assert said.stdout.splitlines() == [
        f"{one.name} to {two.name}: nothing gets in at {two.name}: dropped by a rule of table inet"
        f" mine, chain in: ip saddr {one.addr} udp dport 4789 drop"
    ]
    assert "network front: 1 fault between its nodes" in said.stderr


@pytest.mark.machine
def test_egress_reaches_what_the_host_reaches(swarm: Cluster, busybox: str) -> None:
    swarm.manager.cli("network", "create", "-d", "overlay", "front")
    create(swarm, "--name", "out", "--network", "front", "--constraint", "node.hostname==worker1",
           busybox, "sleep", "3600")  # fmt: skip
    swarm.wait_running("out", 1)
    assert swarm.lan is not None
    in_container(swarm.workers[0], "out.", "ping", "-c", "1", "-W", "2", swarm.lan.gateway)


def test_nodes_and_their_containers_reach_each_others_published_ports(
    swarm: Cluster, busybox: str
) -> None:
    """A task on every node; each node by every node's address, from the host and from a task."""
    create(swarm, "--name", "site", "--publish", "8080:80", "--mode", "global",
           busybox, "sh", "-c", SERVE)  # fmt: skip
    swarm.wait_running("site", 3)
    for host in swarm.hosts:
        swarm.wait(lambda h=host: h.get(8080), 60, f"{host.name}:8080")
    for caller in swarm.hosts:
        for target in swarm.hosts:
            for _ in range(6):
                url = f"http://{target.addr}:8080/"
                assert answered(caller, url), f"{caller.name} to {target.name}"
            ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {target.addr} 8080"
            assert in_container(caller, "site.", "sh", "-c", ask), f"{caller.name}'s task"


@pytest.mark.machine
def test_published_ports_answer_by_ipv6_on_every_host(swarm: Cluster, busybox: str) -> None:
    """From each host to each host's address, wherever the task is; on one address only too."""
    manager = swarm.manager
    targets = {host.name: f"fd99:7::{number}" for number, host in enumerate(swarm.hosts, 1)}
    try:
        for host in swarm.hosts:
            host.run("ip", "addr", "add", f"{targets[host.name]}/64", "dev", "eth0", "nodad")
        create(swarm, "--name", "site6", "--publish", "8086:80", "--mode", "global",
               busybox, "sh", "-c", SERVE.replace("-p 80", "-p [::]:80"))  # fmt: skip
        swarm.wait_running("site6", 3)
        for caller in swarm.hosts:
            for name, target in targets.items():

                def asked(host: Host = caller, where: str = target) -> bool:
                    url = f"http://[{where}]:8086/"
                    said = [host.run("curl", "-sg", "-m", "5", url, check=False) for _ in range(3)]
                    return all(one.returncode == 0 for one in said)

                assert swarm.wait(asked, 90, f"{caller.name} to {name} by IPv6")
        only = targets[manager.name]
        serving = ("sh", "-c", SERVE.replace("-p 80", "-p [::]:80"))
        here = ("--constraint", f"node.hostname=={manager.name}")
        create(swarm, "--name", "one6", "--publish", f"[{only}]:8088:80", busybox, *serving)
        host_mode = f"published=8089,target=80,mode=host,host_ip={only}"
        create(swarm, "--name", "own6", *here, "--publish", host_mode, busybox, *serving)
        swarm.wait_running("one6", 1)
        swarm.wait_running("own6", 1)

        def answers(address: str, port: int) -> bool:
            url = f"http://[{address}]:{port}/"
            command = ("curl", "-sg", "-m", "5", url)
            return swarm.workers[0].run(*command, check=False).returncode == 0

        for port in (8088, 8089):
            assert swarm.wait(lambda p=port: answers(only, p), 90, f"[{only}]:{port}")  # type: ignore[misc]
            assert not answers(targets[swarm.workers[1].name], port)
    finally:
        for host in swarm.hosts:
            address = f"{targets[host.name]}/64"
            host.run("ip", "addr", "del", address, "dev", "eth0", check=False)


def test_a_bridge_of_the_swarm_is_made_by_each_host_of_its_own_configuration(
    swarm: Cluster, busybox: str
) -> None:
    """Services name it as any other; its tasks have addresses of their host's configuration."""
    for number, host in enumerate(swarm.hosts, 1):
        host.cli("network", "create", "--config-only", "--subnet", f"10.6{number}.0.0/24", "base")
    swarm.manager.cli("network", "create", "--scope", "swarm", "-d", "bridge",
                      "--config-from", "base", "site")  # fmt: skip
    try:
        create(swarm, "--name", "local", "--mode", "global", "--network", "site",
               busybox, "sleep", "3600")  # fmt: skip
        swarm.wait_running("local", 3)
        for number, host in enumerate(swarm.hosts, 1):
            shown = in_container(host, "local.", "ip", "-4", "addr")
            assert f"10.6{number}.0." in shown
    finally:
        swarm.manager.cli("service", "rm", "local")
        swarm.manager.cli("network", "rm", "site")
        for host in swarm.hosts:
            swarm.wait(lambda h=host: "site" not in h.cli("network", "ls"), 60, "site is gone")
            host.cli("network", "rm", "base")


def test_a_node_is_answered_for_a_task_elsewhere_by_a_node_that_does_not_know_it(
    swarm: Cluster, busybox: str
) -> None:
    """Nodes know nodes with tasks and managers only: a worker without any asks the manager."""
    create(swarm, "--name", "far", "--publish", "8087:80", "--constraint",
           "node.hostname==worker2", busybox, "sh", "-c", SERVE)  # fmt: skip
    swarm.wait_running("far", 1)
    manager, asking = swarm.manager, swarm.workers[0]
    for target in (manager, asking, swarm.workers[1]):
        url = f"http://{target.addr}:8087/"
        assert swarm.wait(lambda u=url: answered(asking, u), 60, url)


def test_an_ipv6_address_to_publish_on_is_refused_and_breaks_nothing(
    swarm: Cluster, busybox: str
) -> None:
    create(swarm, "--name", "site", "--publish", "8080:80", busybox, "sh", "-c", SERVE)
    for port in ("[::1]:8001:80", "published=8001,target=80,mode=host,host_ip=::1"):
        command = ("service", "create", "--detach", "--publish", port, busybox)
        refused = swarm.manager.try_cli(*command)
        assert refused.returncode != 0
        assert len(refused.stderr.splitlines()) == 1
        assert "::1" in refused.stderr
    swarm.wait_running("site", 1)
    for host in swarm.hosts:
        assert swarm.wait(lambda h=host: h.get(8080), 60, f"{host.name}:8080")


def test_peers_find_each_other_by_host_name_task_name_and_short_id(
    swarm: Cluster, busybox: str
) -> None:
    """Each with the network's name too; an address leads back to a name that is known."""
    swarm.manager.cli("network", "create", "-d", "overlay", "front")
    create(swarm, "--name", "rabbit", "--network", "front", "--mode", "global", "--hostname",
           "at-{{.Node.Hostname}}", busybox, "sleep", "3600")  # fmt: skip
    swarm.wait_running("rabbit", 3)
    names = swarm.manager.cli(
        "service", "ps", "--no-trunc", "--format", "{{.Name}}.{{.ID}}", "rabbit"
    )
    shorts = [
        line for host in swarm.hosts for line in host.cli("ps", "--format", "{{.ID}}").split()
    ]
    asker = next(
        host for host in swarm.hosts if "rabbit" in host.cli("ps", "--format", "{{.Names}}")
    )
    known = [*(f"at-{host.name}" for host in swarm.hosts), *names.split(), *shorts]

    def look_up(*asked: str) -> dict[str, str]:
        script = "; ".join(f"echo '== {name}'; nslookup {name} || true" for name in asked)
        parts = in_container(asker, "rabbit.", "sh", "-c", script).split("== ")[1:]
        return {part.split()[0]: part for part in parts}

    found = look_up(*(f"{name}{suffix}" for name in known for suffix in (".", ".front.")))
    addresses = set()
    for name, shown in found.items():
        address = shown.rpartition("Name:")[2].split("Address")[-1].split()[-1]
        assert address.count(".") == 3, f"{name}: {shown}"
        addresses.add(address)
    assert len(addresses) == 3
    for shown in look_up(*addresses).values():
        assert ".front" in shown, shown


def test_plain_containers_of_a_host_have_networks_names_and_ports(
    swarm: Cluster, busybox: str
) -> None:
    """In a swarm, beside its tasks: a user-defined network, connect, disconnect, a port."""
    host = swarm.workers[0]
    host.cli("network", "create", "local")
    host.cli("run", "-d", "--name", "web", "--network", "local", "-p", "9090:80", busybox,
             "sh", "-c", SERVE)  # fmt: skip
    host.cli("run", "-d", "--name", "client", busybox, "sleep", "3600")
    assert swarm.wait(lambda: host.get(9090), 60, "port 9090")
    assert answered(swarm.manager, f"http://{host.addr}:9090/")
    ask = ("exec", "client", "sh", "-c", "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 web 80")
    assert host.try_cli(*ask).stdout == ""
    host.cli("network", "connect", "local", "client")
    assert "200" in host.try_cli(*ask).stdout
    host.cli("network", "disconnect", "local", "client")
    assert host.try_cli(*ask).stdout == ""
    host.cli("rm", "-f", "web", "client")
    host.cli("network", "rm", "local")
