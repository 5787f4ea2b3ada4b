"""Bad input, hostile containers and worn-out disks on real hosts: one clear line, nothing left."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from swarmlite import rpc
from swarmlite.proto.control_pb2 import CreateServiceRequest, ListRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.testing import Cluster, Host, checkers, sampler
from swarmlite.testing.registry import Registry

pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]

SERVE = "mkdir -p /w; hostname >/w/index.html; exec httpd -f -p 80 -h /w"


def create(swarm: Cluster, *args: str) -> str:
    options = ("--detach", "--quiet", "--stop-grace-period", "0s")
    return swarm.manager.cli("service", "create", *options, *args).strip()


def refused(host: Host, *args: str, timeout_s: float = 40) -> str:
    """The one line that a command ends with, and a code that is not 0."""
    done = host.try_cli(*args, timeout_s=timeout_s)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines, args
    return lines[-1]


def container(host: Host, service: str) -> sampler.Seen:
    for seen in sampler.containers([host]):
        if seen.task.startswith(f"{service}."):
            return seen
    raise OSError(f"no container of {service} on {host.name}")


def inside(seen: sampler.Seen, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nsenter", "-t", str(seen.pid), "-n", "-m", "-p", "--", "/bin/busybox", *command],
        capture_output=True, text=True, timeout=20, env={"PATH": "/bin"},
    )  # fmt: skip


def no_leaks(swarm: Cluster) -> None:
    found: list[str] = []

    def clean() -> bool:
        found[:] = [line for host in swarm.hosts for line in checkers.leaks(host)]
        return not found

    swarm.wait(clean, 60, f"nothing left behind: {found}")


# joining
STRANGERS = itertools.count(1)


@pytest.fixture
def stranger(swarm: Cluster) -> Iterator[Host]:
    """A host on the same link that is in no swarm."""
    assert swarm.lan is not None
    # A name of its own each time: the kernel takes a dead host's veth away in its own time.
    host = Host(f"s{next(STRANGERS)}", swarm.lan, swarm.root, swarm.cgroup_parent)
    host.boot()
    yield host
    host.kill()


def test_a_join_that_is_refused_says_why_and_leaves_nothing(swarm: Cluster, stranger: Host) -> None:
    remote = f"{swarm.manager.addr}:2377"
    token = swarm.manager.cli("swarm", "join-token", "-q", "worker").strip()
    head, version, digest, secret = token.split("-")
    wrong_secret = "-".join([head, version, digest, secret[::-1]])
    wrong_pin = "-".join([head, version, digest[::-1], secret])
    mute = socket.socket()
    mute.bind((swarm.lan.gateway, 0))  # type: ignore[union-attr]
    mute.listen()
    silent = f"{mute.getsockname()[0]}:{mute.getsockname()[1]}"
    for given, to, says in (
        (wrong_secret, remote, "token"),
        (wrong_pin, remote, "fingerprint"),
        ("nonsense", remote, "token"),
        (token, f"{swarm.manager.addr}:2399", "cannot reach"),
        (token, silent, "does not answer"),
        (token, swarm.manager.addr + ":99999", "99999"),
        (token, "192.0.2.7:2377", "192.0.2.7"),
    ):
        line = refused(stranger, "swarm", "join", "--token", given, to)
        assert says in line, (to, line)
        assert not stranger.paths.node_file.exists()
        assert not stranger.paths.certificates_dir.exists()
        assert not (stranger.paths.state_dir / "joining").exists()
    mute.close()
    assert "not part of a swarm" in refused(stranger, "swarm", "leave")
    assert stranger.status()["swarm"] == "inactive"


def test_a_daemon_says_what_it_lacks(swarm: Cluster, stranger: Host) -> None:
    daemon = [os.sys.executable, "-m", "swarmlite.node.daemon"]  # type: ignore[attr-defined]
    second = stranger.run(*daemon, check=False)
    assert second.returncode == 1
    assert "already uses" in second.stderr
    assert second.stderr.count("\n") == 1, second.stderr
    user = stranger.run("setpriv", "--reuid", "65534", "--clear-groups", *daemon, check=False)
    assert user.returncode != 0
    assert "Traceback" not in user.stderr
    # nothing but Python on the PATH
    place = f"/tmp/swl-lacks-{os.getpid()}"
    elsewhere = ["--state-dir", f"{place}/s", "--run-dir", f"{place}/r"]
    start = 'echo $$; exec env PATH=/nowhere /usr/bin/timeout 100 "$@"'
    said = ""
    with stranger.popen("sh", "-c", start, "sh", *daemon, *elsewhere) as bare:
        assert bare.stdout is not None
        pid = bare.stdout.readline().strip()
        for line in bare.stdout:
            said += line
            if all(f"apt-get install {package}" in said for package in ("nftables", "iproute2")):
                stranger.run("kill", pid)
                break
        said += bare.stdout.read()
    mounts = f"grep -o '{place}/[^ ]*' /proc/self/mountinfo | sort -ru | xargs -r umount -l"
    stranger.run("sh", "-c", mounts)
    stranger.run("rm", "-rf", place)
    for package in ("nftables", "iproute2"):
        assert f"apt-get install {package}" in said, said
    assert "Traceback" not in said
    helped = stranger.run(*daemon, "--help")
    assert "--state-dir" in helped.stdout


# ports
def test_a_port_that_is_taken_is_told(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "one", "-p", "8081:80", busybox, "sleep", "3600")
    line = refused(swarm.manager, "service", "create", "-d", "-p", "8081:80", busybox)
    assert "8081" in line
    assert "one" in line
    create(swarm, "--name", "host1", "-p", "mode=host,published=8082,target=80",
           "--constraint", "node.hostname==worker1", busybox, "sleep", "3600")  # fmt: skip
    swarm.wait_running("host1", 1)
    create(swarm, "--name", "host2", "-p", "mode=host,published=8082,target=80",
           "--constraint", "node.hostname==worker1", busybox, "sleep", "3600")  # fmt: skip
    swarm.wait(
        lambda: "port" in swarm.manager.cli("service", "ps", "--no-trunc", "host2"),
        60,
        "the reason why the second waits",
    )
    assert swarm.running("host2") == []


# names
@pytest.mark.parametrize(
    "name", ["a\0b", "a\nb", "../../etc", "a;reboot", "$(id)", "-x", "x" * 300]
)
def test_names_that_could_be_paths_or_commands_are_refused_by_the_api(
    swarm: Cluster, name: str
) -> None:
    with swarm.control() as control:
        request = CreateServiceRequest()
        request.spec.annotations.name = name
        request.spec.task.container.image = "busybox"
        request.spec.replicated.replicas = 1
        with pytest.raises(grpc.RpcError) as error:
            control.CreateService(request, timeout=10)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "\n" not in error.value.details()


def test_what_a_user_writes_is_never_run_on_a_host(swarm: Cluster, busybox: str) -> None:
    bait = "; touch /tmp/swl-bait; $(touch /tmp/swl-bait) `touch /tmp/swl-bait` \n} accept"
    create(swarm, "--name", "bait", "--env", f"A={bait}", "--label", f"b={bait}",
           "--container-label", f"c={bait}", "--workdir", "/", "--mode", "global",
           busybox, "sh", "-c", 'printf "%s" "$A"; sleep 3600')  # fmt: skip
    swarm.wait_running("bait", 3)
    assert not Path("/tmp/swl-bait").exists()
    logs = swarm.wait(
        lambda: swarm.manager.cli("service", "logs", "--raw", "bait"), 60, "the variable"
    )
    assert "touch /tmp/swl-bait" in logs


# containers and certificates
def test_a_container_reaches_neither_control_nor_other_networks(
    swarm: Cluster, busybox: str
) -> None:
    for network in ("n1", "n2"):
        swarm.manager.cli("network", "create", "-d", "overlay", network)
    common = ("--mode", "global", busybox)
    create(swarm, "--name", "good", "--network", "n1", *common, "sh", "-c", SERVE)
    create(swarm, "--name", "evil", "--network", "n2", *common, "sleep", "3600")
    swarm.wait_running("good", 3)
    swarm.wait_running("evil", 3)
    worker = swarm.workers[0]
    good, evil = container(worker, "good"), container(worker, "evil")
    assert inside(evil, "nslookup", "good").returncode != 0
    shown = inside(good, "nslookup", "tasks.good").stdout.split("Name:")[1:]
    addresses = [word.split("Address:")[1].split()[0] for word in shown]
    assert len(addresses) == 3
    for address in addresses:
        fetch = ("timeout", "2", "/bin/busybox", "wget", "-qO-", f"http://{address}/")
        assert inside(good, *fetch).returncode == 0, address
        assert inside(evil, *fetch).returncode != 0, address
    gateway = inside(evil, "ip", "route").stdout.split()[2]
    for address in (worker.addr, swarm.manager.addr, gateway):
        for port in (2377, 2381, 2382):
            tried = inside(evil, "timeout", "2", "/bin/busybox", "nc", address, str(port),
                           "-e", "/bin/true")  # fmt: skip
            assert tried.returncode != 0, (address, port)
    listed = inside(evil, "cat", "/proc/net/unix").stdout
    assert len(listed.splitlines()) == 1, listed


async def test_a_workers_certificate_opens_neither_the_api_nor_etcd(swarm: Cluster) -> None:
    worker, manager = swarm.workers[0], swarm.manager
    channel = rpc.secure_channel([f"{manager.addr}:2377"], worker.paths.certificates_dir)
    try:
        with pytest.raises(grpc.RpcError) as error:
            await ControlStub(channel).ListSecrets(ListRequest(), timeout=10)
        assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED
    finally:
        await channel.close()
    folder = worker.paths.certificates_dir
    tried = manager.run(
        "env", "ETCDCTL_API=3", "etcdctl", "--endpoints", "https://127.0.0.1:2381",
        "--cacert", str(folder / "ca.crt"), "--cert", str(folder / "node.crt"),
        "--key", str(folder / "node.key"), "--command-timeout=3s", "get", "/", "--prefix",
        check=False,
    )  # fmt: skip
    assert tried.returncode != 0
    assert tried.stdout == ""
    for host in swarm.hosts:
        checkers.none(checkers.open_to_others(host.paths.state_dir))
        checkers.none(checkers.open_to_others(host.paths.run_dir))


def test_a_secret_is_on_no_workers_disk(swarm: Cluster, busybox: str) -> None:
    text = "xyzzy-of-the-faults"
    swarm.manager.cli("secret", "create", "s1", "-", input=text)
    create(swarm, "--name", "safe", "--secret", "s1", "--mode", "global",
           "--constraint", "node.role==worker", busybox, "sleep", "3600")  # fmt: skip
    swarm.wait_running("safe", 2)
    for worker in swarm.workers:
        assert inside(container(worker, "safe"), "cat", "/run/secrets/s1").stdout == text
        places = [str(worker.paths.state_dir), str(worker.paths.run_dir)]
        # From the machine's own mount namespace: what is on disk, without the hosts' tmpfs.
        found = subprocess.run(["grep", "-rl", "-D", "skip", text, *places], capture_output=True)
        assert found.stdout == b""


def test_a_hog_hurts_nobody_else(swarm: Cluster, busybox: str) -> None:
    """A fork bomb, a hog of memory and a flood of logs beside a service that answers."""
    create(swarm, "--name", "calm", "-p", "8083:80", "--mode", "global", busybox,
           "sh", "-c", SERVE)  # fmt: skip
    swarm.wait_running("calm", 3)
    place = ("--constraint", "node.hostname==worker1", "--limit-cpu", "0.2")
    create(swarm, "--name", "forks", *place, "--limit-pids", "50", busybox,
           "sh", "-c", "f() { f | f & }; f; while :; do sleep 1; done")  # fmt: skip
    create(swarm, "--name", "memory", *place, "--limit-memory", "16m", "--restart-delay", "1s",
           busybox, "sh", "-c", "sleep 1; tail /dev/zero")  # fmt: skip
    create(swarm, "--name", "flood", *place, busybox, "yes")
    swarm.wait(lambda: swarm.running("flood"), 60, "the flood")
    worker, slowest, until = swarm.workers[0], 0.0, time.monotonic() + 6
    while time.monotonic() < until:
        begun = time.monotonic()
        assert worker.get(8083, timeout_s=5)
        slowest = max(slowest, time.monotonic() - begun)
        time.sleep(0.05)
    assert slowest < 3
    shown = swarm.manager.cli("service", "ps", "--no-trunc", "memory")
    assert "137" in shown or "OOM" in shown or "memory" in shown
    logs = sum(
        path.stat().st_size
        for path in worker.paths.containers_dir.glob("*/logs/*")
    )  # fmt: skip
    assert logs < 100 << 20
    swarm.manager.cli("service", "rm", "forks", "memory", "flood", "calm")
    swarm.wait(lambda: not sampler.containers(swarm.hosts), 60, "no container")
    no_leaks(swarm)


# disks and registries
class Proxy:
    """A registry's port that dies for good once it has sent `limit` bytes."""

    def __init__(self, target: str, host: str, limit: int) -> None:
        self._target = (target.rpartition(":")[0], int(target.rpartition(":")[2]))
        self._limit = limit
        self._server = socket.create_server((host, 0))
        self.address = f"{host}:{self._server.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            threading.Thread(target=self._copy, args=(client, server), daemon=True).start()
            self._copy(server, client, counted=True)

    def _copy(self, source: socket.socket, target: socket.socket, counted: bool = False) -> None:
        try:
            while self._limit > 0 and (data := source.recv(65536)):
                target.sendall(data[: self._limit] if counted else data)
                self._limit -= counted * len(data)
            for side in (source, target):
                side.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        self._server.close()


def test_a_registry_that_dies_in_mid_pull_rejects_the_task_and_says_so(
    swarm: Cluster, registry: Registry
) -> None:
    assert swarm.lan is not None
    proxy = Proxy(registry.address, swarm.lan.gateway, 300_000)
    image = f"{proxy.address}/busybox:latest"
    for image_id in set(swarm.workers[1].cli("image", "ls", "-q").split()):
        swarm.workers[1].cli("image", "rm", "-f", image_id)
    create(swarm, "--name", "cut", "--restart-condition", "none", "--no-resolve-image",
           "--constraint", "node.hostname==worker2", image, "sleep", "3600")  # fmt: skip
    shown = swarm.wait(
        lambda: (
            text
            if "Rejected" in (text := swarm.manager.cli("service", "ps", "--no-trunc", "cut"))
            else ""
        ),
        60,
        "the task to be rejected",
    )
    proxy.close()
    assert proxy.address in shown
    assert "Traceback" not in shown
    ingest = [p for p in swarm.workers[1].paths.images_dir.rglob("*.part*") if p.is_file()]
    assert not ingest
    # The node goes on.
    create(swarm, "--name", "next", "--constraint", "node.hostname==worker2",
           f"{registry.address}/busybox:latest", "sleep", "3600")  # fmt: skip
    swarm.wait_running("next", 1)


def test_a_full_disk_rejects_a_task_and_the_node_goes_on(
    swarm: Cluster, registry: Registry, tmp_path: Path
) -> None:
    worker = swarm.workers[1]
    images = str(worker.paths.images_dir)
    worker.run("mount", "--bind", images, images, check=False)
    # What the agent sees at its images is a disk of 256 KiB; it is one of this test only.
    worker.stop_daemon()
    worker.run("umount", images, check=False)
    worker.run("mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "none", images)
    worker.start_daemon()
    swarm.wait(swarm._all_ready, 60, "every node to be Ready")
    try:
        create(swarm, "--name", "full", "--restart-condition", "none",
               "--constraint", "node.hostname==worker2",
               f"{registry.address}/busybox:latest", "sleep", "3600")  # fmt: skip
        shown = swarm.wait(
            lambda: (
                text
                if "Rejected" in (text := swarm.manager.cli("service", "ps", "--no-trunc", "full"))
                else ""
            ),
            40,
            "the task to be rejected",
        )
        assert "o space left" in shown, shown
        left = worker.run("find", images, "-type", "f", "-size", "+8k").stdout
        assert left == "", worker.run("find", images, "-ls").stdout
        swarm.manager.cli("service", "rm", "full")
    finally:
        worker.stop_daemon()
        worker.run("umount", images)
        worker.start_daemon()
    swarm.wait(swarm._all_ready, 60, "every node to be Ready")
    create(swarm, "--name", "again", "--constraint", "node.hostname==worker2",
           f"{registry.address}/busybox:latest", "sleep", "3600")  # fmt: skip
    swarm.wait_running("again", 1)
