"""Users with a certificate: from another machine, by a manager's own port, as their role allows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest
from swarm_world import create, remove_everything

from swarmlite.testing import Cluster

pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]


class User:
    """A command line of a user with a folder of their own, and without any node here."""

    def __init__(self, folder: Path) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SWARMLITE_")}
        self.folder = folder / "config"
        self.environment = {**kept, "SWARMLITE_CONFIG": str(self.folder)}

    def __call__(self, *args: str, input: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "swarmlite.cli", *args]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=120, input=input
        )

    def ok(self, *args: str, input: str = "") -> str:
        done = self(*args, input=input)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *args: str) -> str:
        done = self(*args)
        assert done.returncode != 0, done.stdout
        return done.stderr.strip()


@pytest.fixture(scope="module")
def there(shared_cluster: Cluster, busybox: str) -> Iterator[Cluster]:
    """A service `web` of one task on a worker; users go with the test."""
    line = ("--name", "web", "--constraint", "node.role==worker", busybox)
    create(shared_cluster, *line, "sh", "-c", "echo up; exec sleep 1000")
    shared_cluster.wait_running("web", 1)
    yield shared_cluster
    manager = shared_cluster.manager
    if left := manager.cli("user", "ls", "-q").split():
        manager.cli("user", "rm", *left)
    with shared_cluster.control() as control:
        remove_everything(shared_cluster, control)


def logged_in(cluster: Cluster, folder: Path, name: str, role: str) -> User:
    user, manager = User(folder), cluster.manager
    token = manager.cli("user", "token", "-q", "--role", role, name).strip()
    said = user.ok("login", f"swarm://{manager.addr}", "--token", token)
    assert said == f"Login Succeeded: {name}, {role}\n"
    again = user.refused("login", f"swarm://{manager.addr}", "--token", token, "--name", "b")
    assert "the login token was used already" in again
    return user


def test_a_reader_looks_and_changes_nothing(there: Cluster, tmp_path: Path) -> None:
    user = logged_in(there, tmp_path, "rita", "read-only")
    assert user.ok("service", "ls", "--format", "{{.Name}} {{.Replicas}}") == "web 1/1\n"
    assert user.ok("logs", "web.1") == "up\n"
    assert user.ok("service", "logs", "--raw", "web") == "up\n"
    assert "sleep 1000" in user.ok("top", "web.1")
    assert user.ok("context", "show") == "rita\n"
    for refused, takes in {
        ("service", "rm", "web"): "an operator",
        ("service", "scale", "-d", "web=2"): "an operator",
        ("secret", "create", "s", "/dev/null"): "an operator",
        ("node", "update", "--availability", "drain", "worker1"): "an admin",
        ("user", "token", "me"): "an admin",
        ("user", "rm", "rita"): "an admin",
        ("swarm", "join-token", "--rotate", "worker"): "an admin",
        ("swarm", "unlock-key"): "an admin",
    }.items():
        assert "a reader may not call" in (said := user.refused(*refused)), refused
        assert said.endswith(f"that takes {takes}"), refused
    assert "the rest takes an operator" in user.refused("exec", "web.1", "true")
    assert "the rest takes an operator" in user.refused("cp", "web.1:/etc/passwd", "-")
    assert "are for an admin" in user.refused("swarm", "join-token", "-q", "manager")
    assert "leads to the managers of a swarm and to no host" in user.refused("ps")
    assert "task web.9 not found" in user.refused("logs", "web.9")


def test_info_inspect_and_events_are_the_swarm_s(
    there: Cluster, busybox: str, tmp_path: Path
) -> None:
    """Managers are asked, and what is of a host is refused by its name."""
    user = logged_in(there, tmp_path, "ines", "operator")
    shown = user.ok("info").splitlines()
    assert {"Swarm: active", " Managers: 1", " Nodes: 3"} <= set(shown)
    assert f"  {there.manager.addr}:2377" in shown
    assert any(line.startswith("Store: etcd") for line in shown)
    assert user.ok("info", "-f", "{{.Swarm.Nodes}} {{.Swarm.ControlAvailable}}") == "3 true\n"
    for name, kind in {"web": "ID", "worker1": "ID", "ingress": "Id"}.items():
        assert len(json.loads(user.ok("inspect", name))[0][kind]) == 25
    assert "no such object: box" in user.refused("inspect", "box")
    host_only = "leads to the managers of a swarm and to no host"
    assert host_only in user.refused("inspect", "--type", "container", "box")
    assert host_only in user.refused("events", "--filter", "type=container")
    command = [sys.executable, "-m", "swarmlite.cli", "events", "--filter", "type=service"]
    line = ("-d", "-q", "--no-resolve-image", "--replicas", "0", "--name", "told", busybox)
    with subprocess.Popen(
        command, env=user.environment, stdout=subprocess.PIPE, text=True
    ) as listening:
        heard = Queue[str]()
        assert listening.stdout is not None
        reader = Thread(
            target=lambda out: [heard.put(each) for each in out], args=(listening.stdout,)
        )
        reader.start()
        try:

            def told() -> bool:
                """Events are told from now on: whether it listens is seen by what it hears."""
                user.ok("service", "create", *line)
                user.ok("service", "rm", "told")
                return any("name=told" in heard.get() for _ in range(heard.qsize()))

            there.wait(told, 60, "an event of the service")
        finally:
            listening.terminate()
            reader.join()
    assert user.ok("events", "--until", "0s") == ""
    past = user.ok("events", "--since", "1h", "--until", "0s", "--filter", "service=told")
    assert "service create" in past and "service remove" in past
    assert user.ok("events", "--since", "1h", "--until", "1h") == ""


def test_an_operator_works_with_services_and_not_with_the_swarm(
    there: Cluster, busybox: str, tmp_path: Path
) -> None:
    user = logged_in(there, tmp_path, "olga", "operator")
    user.ok(
        "service",
        "create",
        "-d",
        "-q",
        "--no-resolve-image",
        "--name",
        "mine",
        busybox,
        "sleep",
        "99",
    )
    there.wait_running("mine", 1)
    assert user.ok("exec", "-i", "mine.1", "cat", input="typed") == "typed"
    user.ok("service", "rm", "mine")
    assert "that takes an admin" in user.refused("node", "rm", "worker1")
    assert "are for an admin" in user.refused("swarm", "join-token", "-q", "worker")


def test_a_user_who_was_removed_is_refused_at_once(there: Cluster, tmp_path: Path) -> None:
    user, manager = logged_in(there, tmp_path, "anna", "admin"), there.manager
    shown = user.ok("user", "ls", "--format", "{{.Name}} {{.Role}}").splitlines()
    assert "anna admin" in shown
    assert user.ok("swarm", "join-token", "-q", "worker").startswith("SWMTKN-1-")
    # A shell that she has open ends too.
    command = [
        sys.executable,
        "-m",
        "swarmlite.cli",
        "exec",
        "web.1",
        "sh",
        "-c",
        "echo in; sleep 200",
    ]
    with subprocess.Popen(
        command, env=user.environment, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "in\n"
        manager.cli("user", "rm", "anna")
        assert "was removed from the cluster" in user.refused("service", "ls")
        assert shell.wait(60) != 0


def test_a_users_certificate_is_no_nodes(there: Cluster, tmp_path: Path) -> None:
    """It opens neither etcd nor other nodes' images, and serves nobody as a manager's."""
    user, manager = logged_in(there, tmp_path, "eve", "admin"), there.manager
    folder = user.folder / "contexts" / "eve"
    assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-text", "-in", str(folder / "cert.pem")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "TLS Web Client Authentication" in text
    assert "TLS Web Server Authentication" not in text
    assert "swarm-manager" not in text
    etcd = json.loads((manager.paths.state_dir / "node.json").read_text())["etcd"]["client_url"]
    pems = {"cacert": "ca", "cert": "cert", "key": "key"}
    files = [f"--{flag}={folder / name}.pem" for flag, name in pems.items()]
    asking = ("--command-timeout=5s", "get", "/", "--prefix")
    asked = manager.run("etcdctl", f"--endpoints={etcd}", *files, *asking, check=False)
    assert asked.returncode != 0
    assert "/swarmlite" not in asked.stdout


def test_tokens_that_are_wrong_old_or_of_another_role_get_nothing(
    there: Cluster, tmp_path: Path
) -> None:
    user, manager = User(tmp_path), there.manager
    token = manager.cli("user", "token", "-q", "mallory").strip()
    head, said, seal = token.rpartition("-")[0].rpartition("-")[0], token.split("-")[3], token[-25:]
    where = f"swarm://{manager.addr}"
    changed = f"{head}-{'a' + said[1:] if said[0] != 'a' else 'b' + said[1:]}-{seal}"
    assert "not valid" in user.refused("login", where, "--token", changed)
    assert "invalid login token" in user.refused("login", where, "--token", "SWMTKN-1-x")
    other = token.replace(token.split("-")[2], "0" * 50)
    assert "does not match fingerprint" in user.refused("login", where, "--token", other)
    assert user.ok("context", "ls", "-q").split() == ["default"]
