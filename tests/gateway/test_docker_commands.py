"""Docker's own command, unchanged, on a host: containers, streams, files, events."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_host import RawHost

WAIT_S = 60.0


def programs() -> list[str]:
    """Every docker command of this machine: /usr/local/bin has a newer one than Debian's."""
    found = {
        str(Path(path).resolve()): path for path in ("/usr/local/bin/docker", "/usr/bin/docker")
    }
    return [path for path in found.values() if os.access(path, os.X_OK)]


@pytest.fixture(params=programs() or [None])
def docker(request: pytest.FixtureRequest, host: RawHost) -> Iterator[Any]:
    """`docker ARGS...` on the host: what it prints."""
    if request.param is None:
        pytest.skip("no docker command (apt install docker.io, or docker-cli)")

    def run(*args: str, stdin: bytes = b"", status: int = 0) -> str:
        done = host.docker(*args, stdin=stdin, program=request.param, check=False)
        said = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == status, f"{args}: {done.returncode}\n{said}\n{host.gateway_log()}"
        return done.stdout.decode()

    run.program = request.param  # type: ignore[attr-defined]
    yield run
    left = run("ps", "-aq").split()
    if left:
        run("rm", "-fv", *left)


def test_run_prints_the_output_and_ends_with_the_code(docker: Any, host: RawHost) -> None:
    assert docker("run", "--rm", host.image, "echo", "hello") == "hello\n"
    docker("run", "--rm", host.image, "sh", "-c", "exit 7", status=7)
    docker("run", "--rm", host.image, "/nothing", status=127)
    words = (
        "--rm=false",
        "--restart",
        "on-failure:1",
        host.image,
        "sh",
        "-c",
        "echo a run; exit 5",
    )
    assert docker("run", "--name", "again", *words, status=5) == "a run\n"  # of its first one
    docker("rm", "-f", "again")
    assert docker("run", "--rm", "-i", host.image, "wc", "-c", stdin=b"x" * 100_000) == "100000\n"
    assert docker("ps", "-aq") == ""


def test_a_container_s_whole_life(docker: Any, host: RawHost, tmp_path: Path) -> None:
    script = "echo out; echo err >&2; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    identity = docker(
        *("run", "-d", "--name", "life", "-l", "a=b", "-e", "X=1", "-v", "data:/data", "-p", "80"),
        *("--memory", "64m", "--restart", "on-failure:2", host.image, "sh", "-c", script),
    ).strip()
    assert docker("ps", "--no-trunc", "-q").strip() == identity
    assert "life" in docker("ps", "--filter", "label=a=b", "--format", "{{.Names}} {{.Ports}}")
    assert docker("inspect", "-f", "{{.HostConfig.Memory}} {{.Config.Env}}", "life").startswith(
        "67108864 [X=1"
    ) or "X=1" in docker("inspect", "life")
    _until(lambda: "out" in docker("logs", "life"))
    assert "Z out" in docker("logs", "-t", "--tail", "5", "life")
    assert docker("exec", "life", "sh", "-c", "echo $X") == "1\n"
    assert docker("exec", "-i", "life", "cat", stdin=b"in\n") == "in\n"
    docker("exec", "life", "false", status=1)
    assert ":" in docker("port", "life")
    assert "PID" in docker("top", "life")
    assert "life" in docker("stats", "--no-stream", "--format", "{{.Name}}")
    source = tmp_path / "file"
    source.write_text("content")
    docker("cp", str(source), "life:/tmp/copied")
    docker("cp", "life:/tmp/copied", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "content"
    assert "A /tmp/copied" in docker("diff", "life")
    docker("pause", "life")
    assert "(Paused)" in docker("ps")
    docker("unpause", "life")
    docker("update", "--memory", "96m", "--memory-swap", "-1", "life")
    docker("rename", "life", "life2")
    docker("restart", "-t", "5", "life2")
    docker("stop", "-t", "5", "life2")
    assert docker("wait", "life2") == "0\n"
    docker("start", "life2")
    docker("kill", "life2")
    assert len(docker("export", "life2", "-o", str(tmp_path / "tar"))) == 0
    assert (tmp_path / "tar").stat().st_size > 100_000
    docker("rm", "-v", "life2")
    docker("volume", "rm", "data")


def test_a_terminal_is_attached_resized_and_left(docker: Any, host: RawHost) -> None:
    from container_host import Terminal

    argv = [docker.program, "run", "-it", "--name", "tty", host.image, "sh"]
    with Terminal(argv, host.docker_environment, 31, 81) as terminal:
        terminal.until(b"#")
        terminal.type(b"stty size; echo do''ne\r")
        terminal.until(b"done")
        terminal.type(b"\x10\x11")
        assert terminal.ends() == 0
    assert docker("inspect", "-f", "{{.State.Running}}", "tty") == "true\n"


def test_events_are_heard_and_remembered(docker: Any, host: RawHost) -> None:
    since = str(int(time.time()) - 1)
    docker("run", "--rm", "--name", "heard", host.image, "true")
    said = docker(
        *("events", "--since", since, "--until", str(int(time.time()) + 1)),
        *("--filter", "container=heard", "--format", "{{json .}}"),
    )
    actions = [json.loads(line)["Action"] for line in said.splitlines()]
    for action in ("create", "attach", "start", "die", "destroy"):
        assert action in actions, actions


def test_the_host_is_told_of(docker: Any, host: RawHost) -> None:
    assert docker("version", "--format", "{{.Server.APIVersion}}").strip() == "1.55"
    assert "json-file" in docker("info")
    assert docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive\n"
    assert "Images" in docker("system", "df") and "Local Volumes" in docker("system", "df", "-v")
    docker("node", "ls", status=1)
    docker("plugin", "ls")


def _until(probe: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not probe():
        assert time.monotonic() < deadline, "it never came true"


def test_dial_stdio_is_the_way_of_contexts_over_ssh(host: RawHost) -> None:
    asked = b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
    result = host.cli("system", "dial-stdio", stdin=asked)
    assert result.status == 0 and result.out.endswith("OK"), result
