"""Three machines with Debian's own kernel, systemd and cgroup v2, and the package on them.

What hosts of namespaces share with the machine that the tests run on, these have of their own: the
boot, units, cgroups, device rules in BPF, kernel modules, power.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import carried
import machines
import pytest
from machines import VirtualMachine, Wire, wait

from swarmlite.testing import images
from swarmlite.testing.oci import docker_archive
from swarmlite.testing.wiretap import SECRET, counts, watching

ROOT = Path(__file__).parents[2]
REGISTRY = "127.0.0.1:5555"
"""Nothing listens there: the nodes get images from the one that loaded them."""

WIREGUARD_TESTS = "tests/network/test_real_wireguard.py"
LONG_S = 600.0
pytestmark = [
    pytest.mark.vm,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(machines.missing()), reason=machines.missing()),
]


@pytest.fixture(scope="module")
def image() -> Path:
    script = ROOT / "deploy/vm/image.sh"
    done = subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.split()[-1])


@pytest.fixture(scope="module")
def package() -> Path:
    """What SWARMLITE_DEB names, else built now."""
    if named := os.environ.get("SWARMLITE_DEB"):
        return Path(named)
    script = ROOT / "deploy/deb/build.sh"
    done = subprocess.run([script, "amd64"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.split()[-1])


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def works(host: VirtualMachine, command: str) -> bool:
    return host.attempt(command)[0] == 0


def install(package: Path, host: VirtualMachine) -> None:
    host.wait_booted()
    host.copy(package, "/root/swarmlite.deb")
    host.run("DEBIAN_FRONTEND=noninteractive apt-get install -q -y /root/swarmlite.deb")
    wait(partial(works, host, "swarmlite version"), LONG_S, f"{host.name}'s node")


@pytest.fixture(scope="module")
def hosts(
    wire: Wire, image: Path, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[VirtualMachine]:
    """A manager and two workers, with the package of this clone, in one cluster."""
    folder = tmp_path_factory.mktemp("machines")
    hosts = [VirtualMachine(wire, image, folder, n, 1536 if n == 1 else 1024) for n in (1, 2, 3)]
    # Each has a processor of its own, so that they are installed at once.
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(partial(install, package), hosts))
    manager = hosts[0]
    # Emulated processors stand still for seconds, and 15 s without a beat would make a node Down.
    flags = "--dispatcher-heartbeat 20s"
    manager.run(f"swarmlite swarm init {flags} --advertise-addr {manager.address}")
    token = manager.run("swarmlite swarm join-token -q worker").strip()
    for host in hosts[1:]:
        host.run(f"swarmlite swarm join --token {token} {manager.address}:2377")
    return hosts


@pytest.fixture(scope="module")
def busybox(hosts: list[VirtualMachine], tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("image") / "busybox.tar"
    file.write_bytes(docker_archive([images.busybox()]))
    for host in hosts:
        host.copy(file, "/root/busybox.tar")
        host.run("swarmlite load -q -i /root/busybox.tar")
    return images.busybox().name


def running(manager: VirtualMachine, service: str) -> list[str]:
    """Names of the nodes that run tasks of a service."""
    shown = manager.run(
        f"swarmlite service ps {service} --filter desired-state=running"
        " --format '{{.Node}} {{.CurrentState}}'"
    )
    return [line.split()[0] for line in shown.splitlines() if " Running" in line]


def container(host: VirtualMachine, service: str) -> str:
    """The id of the one container of a service on a host."""
    label = f"label=com.docker.swarm.service.name={service}"
    return host.run(f"swarmlite ps -q --no-trunc --filter {label}").strip()


def test_the_package_runs_by_its_units(hosts: list[VirtualMachine]) -> None:
    for host in hosts:
        for unit in ("swarmlited", "swarmlite-supervisor"):
            assert host.run(f"systemctl is-active {unit}").strip() == "active"
        assert host.run("systemctl show -p Delegate swarmlite-supervisor").strip() == "Delegate=yes"
        assert host.run("stat -fc %T /sys/fs/cgroup").strip() == "cgroup2fs"
        # The kernel's modules are loaded by need, the first time while swarmlited looks for them.
        assert " no " not in host.run(
            "journalctl -b -u swarmlited -o cat --grep '^swarmlited:' || :"
        )


def test_doctor_has_nothing_to_say_against_them(hosts: list[VirtualMachine]) -> None:
    code, said = hosts[0].attempt("swarmlite doctor")
    assert code == 0, said


def test_the_voting_example_counts_and_outlives_a_power_cut(
    hosts: list[VirtualMachine], tmp_path: Path
) -> None:
    manager, worker, _ = hosts
    example = ROOT / "compose-examples/voting"
    archive = tmp_path / "voting.tar"
    built = [image.named(f"{REGISTRY}/{image.name}") for image in images.example_images(example)]
    archive.write_bytes(docker_archive(built))
    manager.copy(archive, "/root/voting.tar")
    manager.run("swarmlite load -q -i /root/voting.tar")
    manager.copy(example / "compose.yml", "/root/voting.yml")
    deploy = f"REGISTRY={REGISTRY} swarmlite stack deploy --detach -c /root/voting.yml voting"
    manager.run(deploy)
    names = ("vote", "redis", "worker", "db", "result")
    replicas = {name: 2 if name == "vote" else 1 for name in names}

    def whole(gone: str = "") -> bool:
        nodes = {name: running(manager, f"voting_{name}") for name in names}
        return all(len(nodes[name]) == replicas[name] and gone not in nodes[name] for name in names)

    def ask(address: str, path: str, data: str = "") -> str:
        flags = f"--data {data}" if data else ""
        code, said = manager.attempt(f"curl -fsS -m 20 {flags} 'http://{address}{path}'")
        return said if code == 0 else ""

    wait(whole, LONG_S, "the stack's tasks")
    for host in hosts:
        vote = partial(ask, f"{host.address}:5000", "/", "vote=a")
        wait(vote, LONG_S, f"a vote by {host.name}")
    wait(lambda: "3" in ask(f"{manager.address}:5001", "/?format=text"), LONG_S, "three votes")
    worker.cut_power()
    wait(lambda: whole(gone=worker.name), LONG_S, "the tasks to move")
    wait(lambda: ask(f"{manager.address}:5000", "/"), LONG_S, "an answer")
    hosts.remove(worker)
    manager.run("swarmlite stack rm voting")


def test_limits_are_the_kernel_s(hosts: list[VirtualMachine], busybox: str) -> None:
    manager = hosts[0]
    limits = "--limit-memory 64M --limit-pids 20 --limit-cpu 0.5"
    service = f"--name limited --constraint node.hostname=={manager.name} {limits}"
    manager.run(f"swarmlite service create -q --detach {service} {busybox} sleep 9999")
    wait(lambda: running(manager, "limited"), LONG_S, "the task")
    identity = container(manager, "limited")
    pid = manager.run(f"swarmlite inspect --format '{{{{.State.Pid}}}}' {identity}").strip()
    group = manager.run(f"cut -d: -f3 /proc/{pid}/cgroup").strip()
    values = manager.run(f"cd /sys/fs/cgroup{group} && cat memory.max pids.max cpu.max").split()
    assert values[:2] == [str(64 << 20), "20"]
    assert int(values[2]) * 2 == int(values[3])
    # What exceeds its memory dies, and is said to have run out of it.
    code, _ = manager.attempt(
        f"swarmlite run --name eater --memory 32m --memory-swap 32m {busybox} "
        "sh -c 'head -c 200000000 /dev/zero | tail'"
    )
    assert code == 137
    assert manager.run("swarmlite inspect -f '{{.State.OOMKilled}}' eater").strip() == "true"
    manager.run("swarmlite rm eater && swarmlite service rm limited")


def test_devices_are_kept_by_the_kernel(hosts: list[VirtualMachine], busybox: str) -> None:
    manager = hosts[0]
    major, minor = (int(n, 16) for n in manager.run("stat -c '%t %T' /dev/vda").split())
    # The host's disk under a name of the container's own: the node is made, and does not open.
    read = shlex.quote(f"mknod /tmp/d b {major} {minor} && echo made && head -c 1 /tmp/d")
    code, said = manager.attempt(f"swarmlite run --rm --cap-add MKNOD {busybox} sh -c {read}")
    assert code != 0
    assert "made" in said and "Operation not permitted" in said
    null = manager.run(f"swarmlite run --rm {busybox} sh -c 'echo x >/dev/null && echo good'")
    assert null.strip() == "good"
    opened = f"swarmlite run --rm --device /dev/vda:/dev/disk:r {busybox} head -c 1 /dev/disk"
    assert manager.attempt(opened)[0] == 0


PROFILE = """
#include <tunables/global>
profile vm-test flags=(attach_disconnected) {
  file,
  deny /tmp/kept w,
}
"""


def test_a_bundle_is_held_by_its_apparmor_profile(
    hosts: list[VirtualMachine], busybox: str
) -> None:
    """By the kernel; containers of the engine have none, and say so."""
    manager = hosts[0]
    assert manager.run("cat /sys/module/apparmor/parameters/enabled").strip() == "Y"
    manager.run("apparmor_parser --replace", PROFILE.encode())
    look = "cat /proc/self/attr/current"
    assert manager.run(f"swarmlite run --rm {busybox} {look}").strip() == "unconfined"
    manager.run(
        f"mkdir -p /root/bundle/rootfs && swarmlite create --name rooted {busybox}"
        " && swarmlite export rooted | tar -x -C /root/bundle/rootfs && swarmlite rm rooted"
    )
    script = f"exec 2>&1; {look}; echo x >/tmp/free && echo free; echo x >/tmp/kept || echo kept"
    spec = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["/bin/sh", "-c", script], "cwd": "/",
            "env": ["PATH=/bin"], "apparmorProfile": "vm-test",
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
        ],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    }  # fmt: skip
    manager.run("cat >/root/bundle/config.json", json.dumps(spec).encode())
    _, said = manager.attempt("swarmlite-runtime run --bundle /root/bundle confined")
    lines = said.splitlines()
    assert lines[:2] == ["vm-test (enforce)", "free"], said
    assert lines[-1] == "kept" and "Permission denied" in said


def test_a_restart_of_the_daemon_leaves_containers_alone(
    hosts: list[VirtualMachine], busybox: str
) -> None:
    manager = hosts[0]
    place = f"--constraint node.hostname=={manager.name}"
    manager.run(f"swarmlite service create -q --detach --name on {place} {busybox} sleep 9999")
    wait(lambda: running(manager, "on"), LONG_S, "the task")
    identity = container(manager, "on")
    show = f"swarmlite inspect --format '{{{{.State.Pid}}}}' {identity}"
    before = manager.run(show)
    manager.run("systemctl restart swarmlited")
    wait(lambda: manager.attempt(show)[1] == before, LONG_S, "the same process")
    wait(lambda: manager.attempt("swarmlite service ps on")[0] == 0, LONG_S, "the manager")
    assert running(manager, "on") == [manager.name]
    manager.run("swarmlite service rm on")


def test_overlays_carry_between_the_machines(hosts: list[VirtualMachine], busybox: str) -> None:
    manager = hosts[0]
    others = [host for host in hosts if host is not manager]
    manager.run("swarmlite network create -d overlay --attachable plain")
    web = shlex.quote("echo hello >/tmp/index.html; exec httpd -f -h /tmp")
    place = f"--constraint node.hostname=={others[-1].name}"
    create = f"swarmlite service create -q --detach --name site --network plain {place}"
    manager.run(f"{create} {busybox} sh -c {web}")
    wait(lambda: running(manager, "site"), LONG_S, "the task")
    # Not by -T, with which the wget of a static busybox crashes.
    ask = f"swarmlite run --rm --network plain {busybox} timeout 20 wget -qO- http://site/"
    wait(lambda: "hello" in manager.attempt(ask)[1], LONG_S, "an answer over the overlay")
    manager.run("swarmlite service rm site")
    wait(lambda: manager.attempt("swarmlite network rm plain")[0] == 0, LONG_S, "no user of it")


def test_encryption_works_with_the_kernel_s_own_wireguard(hosts: list[VirtualMachine]) -> None:
    """The network room by itself, on hosts that are namespaces of one machine."""
    host = hosts[-1]
    host.run("mkdir -p /root/suite && tar -C /root/suite -xz", carried.archive())
    code, said = host.attempt(f"cd /root/suite && {carried.command(WIREGUARD_TESTS)}")
    assert code == 0 and " passed" in said and "skipped" not in said, said


def asked(host: VirtualMachine, image: str, network: str, name: str) -> bool:
    words = f"swarmlite run --rm --network {network} {image} timeout 20 wget -qO- http://{name}/"
    return SECRET.decode() in host.attempt(words)[1]


def test_what_an_encrypted_network_carries_cannot_be_read_on_the_wire(
    hosts: list[VirtualMachine], busybox: str, wire: Wire
) -> None:
    """The same request over a plain network can be read."""
    manager, far = hosts[0], hosts[-1]
    place = f"--constraint node.hostname=={far.name}"
    web = shlex.quote(f"echo {SECRET.decode()} >/tmp/index.html; exec httpd -f -h /tmp")
    for name, option in (("plain", ""), ("sealed", "-o encrypted")):
        create = f"swarmlite network create -d overlay --attachable {option} {name}"
        wait(partial(works, manager, create), LONG_S, f"network {name}")
        create = f"swarmlite service create -q --detach --name on-{name} --network {name} {place}"
        manager.run(f"{create} {busybox} sh -c {web}")
        wait(partial(running, manager, f"on-{name}"), LONG_S, f"the task on {name}")
        ask = partial(asked, manager, busybox, name, f"on-{name}")
        wait(ask, LONG_S, f"an answer on {name}")
        with watching(wire.enter([])) as process:
            wait(ask, LONG_S, f"an answer on {name} that is watched")
            sealed, plain, read = counts(process)
        if name == "plain":
            assert plain and read
        else:
            assert sealed and not plain and not read
    shown = far.run("cat /proc/net/dev")
    assert "swarmlite-wg" in shown
    check = manager.run("swarmlite network check sealed")
    assert "nodes hear each other, packets of 1370 bytes" in check or "only" in check
    for name in ("plain", "sealed"):
        manager.run(f"swarmlite service rm on-{name}")
        remove = f"swarmlite network rm {name}"
        wait(partial(works, manager, remove), LONG_S, "no user of it")
    wait(lambda: "swarmlite-wg" not in far.run("cat /proc/net/dev"), LONG_S, "the device to go")
