"""`swarmlite dev`: each verb a process of its own, as a person types them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Another folder is another cluster: one that a person has up is left in peace.
os.environ["SWARMLITE_DEV_DIR"] = f"/var/tmp/swarmlite-dev-{os.getpid()}"
from swarmlite.testing import dev

pytestmark = [
    pytest.mark.machine,
    pytest.mark.skipif(os.geteuid() != 0, reason="hosts of namespaces need root"),
    pytest.mark.skipif(shutil.which("docker-registry") is None, reason="no docker-registry"),
    pytest.mark.timeout(300),
]


def swarmlite(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "swarmlite.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def on(host: str, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [dev.ROOT / "bin" / host, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def done(*words: str) -> str:
    result = swarmlite(*words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def said() -> Iterator[str]:
    """What `dev up --registry` printed."""
    try:
        yield done("dev", "up", "--nodes", "2", "--registry")
    finally:
        swarmlite("dev", "down")
    assert not dev.ROOT.exists()
    assert (
        f"sl-{dev.NAME}"
        not in subprocess.run(["ip", "link"], capture_output=True, text=True).stdout
    )


def states() -> dict[str, str]:
    """Of `node ls`, on the first manager."""
    shown = on("manager1", "swarmlite", "node", "ls", "--format", "{{.Hostname}} {{.Status}}")
    return dict(line.split() for line in shown.stdout.splitlines())


def test_the_lines_that_it_prints_make_a_first_service(said: str) -> None:
    lines = [line.strip() for line in said.splitlines() if line.startswith("  ")]
    create, curl, ps = lines
    made = subprocess.run(create.split(), capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert curl.split()[0] == "curl"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert opener.open(curl.split()[1], timeout=10).read().strip()
    shown = subprocess.run(ps.split(), capture_output=True, text=True)
    assert len(re.findall("Running +Running", shown.stdout)) == 3, shown.stdout + shown.stderr


def test_relative_paths_are_those_of_who_types(said: str, tmp_path: Path) -> None:
    compose = (
        f"services:\n  one:\n    image: {dev.registry_address()}/busybox\n    command: sleep 99\n"
    )
    (tmp_path / "compose.yml").write_text(compose)
    shown = on("manager1", "swarmlite", "stack", "config", "-c", "compose.yml", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert on("worker1", "pwd", cwd=tmp_path).stdout == f"{tmp_path}\n"


def test_a_host_is_added_killed_booted_and_restarted(said: str) -> None:
    assert done("dev", "add") == "worker2\n"
    assert states()["worker2"] == "Ready"
    done("dev", "kill", "worker2")
    assert "worker2 is off: swarmlite dev boot worker2" in on("worker2", "true").stderr
    until(lambda: states()["worker2"] == "Down", "the loss of worker2")
    refused = swarmlite("dev", "kill", "worker2")
    assert (refused.returncode, refused.stderr) == (
        1,
        "worker2 is off: `swarmlite dev boot worker2`\n",
    )
    done("dev", "boot", "worker2")
    until(lambda: states()["worker2"] == "Ready", "worker2 again")
    assert [line.split()[::2] for line in done("dev", "ls").splitlines()] == [
        ["manager1", "on"],
        ["worker1", "on"],
        ["worker2", "on"],
    ]
    done("dev", "restart", "worker1", "worker2")
    until(lambda: set(states().values()) == {"Ready"}, "both workers after their restart")


def test_a_process_of_a_host_is_killed_and_restarted(said: str) -> None:
    cluster = dev.cluster()
    host = cluster.host("worker1")
    agent, daemon = host.node_pid("agent"), host.node_pid("daemon")
    done("dev", "kill", "worker1", "--process", "agent")
    cluster.wait(lambda: host.node_pid("agent") != agent, 60, "another agent")
    done("dev", "restart", "worker1", "--process", "daemon")
    assert host.node_pid("daemon") != daemon
    assert swarmlite("dev", "boot", "worker1", "--process", "daemon").stderr == (
        "the daemon of worker1 runs\n"
    )
    done("dev", "kill", "worker1", "--process", "daemon")
    done("dev", "boot", "worker1", "--process", "daemon")
    until(lambda: states()["worker1"] == "Ready", "worker1 again")
    assert "the daemon of worker1 starts its etcd" in (
        swarmlite("dev", "boot", "worker1", "--process", "etcd").stderr
    )


def test_what_is_not_there_is_said(said: str) -> None:
    assert swarmlite("dev", "kill", "nobody").stderr.startswith(
        "there is no host nobody: there are"
    )
    assert "is up already" in swarmlite("dev", "up").stderr
