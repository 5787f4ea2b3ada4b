"""Docker's own engine with swarmlite-runtime in the place of runc: `dockerd --add-runtime`.

Debian's docker.io runs on a machine of namespaces of its own; nothing of it stays behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.docker_peer import DockerPeer
from oci_world import OURS

pytestmark = [
    pytest.mark.skipif(
        shutil.which("dockerd") is None,
        reason="needs docker.io (deploy/packages.sh bench installs it)",
    ),
    pytest.mark.timeout(300),
]


class Docker:
    """`docker("ps", "-a")` gives what it prints, and fails on another exit code than `code`."""

    def __init__(self, peer: DockerPeer) -> None:
        self.socket = f"unix://{peer.socket}"

    def __call__(self, *words: str | Path, code: int = 0) -> str:
        done = subprocess.run(
            ["docker", "-H", self.socket, *words], stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout

    def until(self, name: str, template: str, expected: str) -> None:
        """A field of its inspection; the test's own timeout bounds it."""
        while self("inspect", "-f", template, name).strip() != expected:
            continue


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory, busybox_root: Path) -> Iterator[Docker]:
    """The engine, whose default runtime is ours."""
    folder = tmp_path_factory.mktemp("docker")
    launcher = folder / "swarmlite-runtime"
    launcher.write_text(f'#!/bin/sh\nexec {" ".join(OURS)} "$@"\n')
    launcher.chmod(0o755)
    flags = ("--add-runtime", f"swarmlite={launcher}", "--default-runtime", "swarmlite")
    with DockerPeer("192.168.98.1", *flags) as peer:
        peer.import_image(busybox_root, "busybox")
        yield Docker(peer)


@contextlib.contextmanager
def running(
    docker: Docker, *words: str, command: tuple[str, ...] = ("sleep", "1000")
) -> Iterator[str]:
    """A detached container, removed at the end."""
    name = f"c{os.urandom(4).hex()}"
    docker("run", "-d", "--name", name, *words, "busybox", *command)
    try:
        yield name
    finally:
        docker("rm", "-f", name)


def test_the_engine_runs_on_ours(docker: Docker) -> None:
    """It says so itself."""
    assert docker("info", "-f", "{{.DefaultRuntime}}").strip() == "swarmlite"


def test_run_gives_output_and_exit_code_and_removes(docker: Docker) -> None:
    """127 for a program that is not there, as with runc."""
    assert docker("run", "--rm", "busybox", "echo", "hello") == "hello\n"
    docker("run", "--rm", "busybox", "sh", "-c", "exit 7", code=7)
    assert "executable file not found" in docker("run", "--rm", "busybox", "nosuch", code=127)
    assert docker("ps", "-aq") == ""


def test_a_terminal(docker: Docker) -> None:
    """-it on a pty of ours: typed, echoed, ended with its exit code."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["docker", "-H", docker.socket, "run", "-it", "--rm", "busybox", "sh", "-c",
         "tty; read x; echo got $x; exit 5"],
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    said = b""
    with os.fdopen(master, "r+b", buffering=0) as terminal:
        while b"/dev/" not in said:
            said += terminal.read(4096)
        terminal.write(b"typed\r")
        while b"got typed" not in said:
            said += terminal.read(4096)
        assert process.wait(60) == 5


def test_exec_top_stats_pause(docker: Docker) -> None:
    """What is done to a container while it runs."""
    with running(docker, "-m", "64m", "--pids-limit", "50", "--cpus", "0.5") as name:
        assert docker("exec", name, "echo", "inside") == "inside\n"
        docker("exec", name, "sh", "-c", "exit 3", code=3)
        assert "sleep 1000" in docker("top", name)
        stats = json.loads(docker("stats", "--no-stream", "--format", "{{json .}}", name))
        assert stats["MemUsage"].endswith("/ 64MiB")
        assert stats["PIDs"] == "1"
        docker("pause", name)
        assert docker("inspect", "-f", "{{.State.Status}}", name) == "paused\n"
        docker("unpause", name)
        docker("update", "-m", "80m", "--memory-swap", "160m", name)
        assert docker("exec", name, "cat", "/proc/1/comm") == "sleep\n"
        docker("exec", "-d", name, "touch", "/tmp/detached")
        docker("restart", "-t", "0", name)
        docker("stop", "-t", "0", name)
        assert docker("inspect", "-f", "{{.State.ExitCode}}", name) == "137\n"
        docker("start", name)
        docker("kill", name)
        docker.until(name, "{{.State.Status}}", "exited")


def test_health_checks(docker: Docker) -> None:
    """Probes are execs of the runtime."""
    with running(docker, "--health-cmd", "test -e /tmp", "--health-interval", "1s") as name:
        docker.until(name, "{{.State.Health.Status}}", "healthy")


def test_restart_policies(docker: Docker) -> None:
    """The engine hears of each end."""
    with running(docker, "--restart", "on-failure:2", command=("sh", "-c", "exit 1")) as name:
        docker.until(name, "{{.RestartCount}} {{.State.Status}}", "2 exited")


def test_volumes_users_and_rights(docker: Docker, tmp_path: Path) -> None:
    """Binds, named volumes, a tmpfs, a read-only root, users, capabilities, privileged."""
    (tmp_path / "file").write_text("bound\n")
    bind = f"{tmp_path}:/bound:ro"
    assert docker("run", "--rm", "-v", bind, "busybox", "cat", "/bound/file") == "bound\n"
    docker("run", "--rm", "-v", bind, "busybox", "touch", "/bound/x", code=1)
    docker("run", "--rm", "-v", "named:/data", "busybox", "touch", "/data/kept")
    assert docker("run", "--rm", "-v", "named:/data", "busybox", "ls", "/data") == "kept\n"
    docker("run", "--rm", "--read-only", "busybox", "touch", "/x", code=1)
    docker("run", "--rm", "--read-only", "--tmpfs", "/x", "busybox", "touch", "/x/y")
    assert docker("run", "--rm", "--user", "33:33", "busybox", "id", "-u") == "33\n"
    script = "grep CapEff /proc/self/status"
    dropped = docker("run", "--rm", "--cap-drop", "ALL", "busybox", "sh", "-c", script)
    assert dropped.split()[1] == "0" * 16
    assert "kmsg" in docker("run", "--rm", "--privileged", "busybox", "ls", "/dev")


def test_namespaces_of_others(docker: Docker) -> None:
    """--pid and --network of another container, and the host's."""
    with running(docker) as name:
        other = f"container:{name}"
        script = "tr '\\0' ' ' < /proc/1/cmdline"
        said = docker("run", "--rm", "--pid", other, "busybox", "sh", "-c", script)
        assert said == "sleep 1000 "
        links = [
            docker("exec", name, "readlink", "/proc/self/ns/net"),
            docker("run", "--rm", "--network", other, "busybox", "readlink", "/proc/self/ns/net"),
        ]
        assert links[0] == links[1]
    docker("run", "--rm", "--pid", "host", "--uts", "host", "--ipc", "host", "busybox", "true")
