"""What is wrong gets one line and a status, and no traceback."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        (
            "service create --fooo x",
            125,
            "unknown flag: --fooo. See 'swarmlite service create --help'.",
        ),
        ("service create", 1, '"swarmlite service create" requires at least 1 argument.'),
        (
            "service update --rollback -d --image x --force web",
            1,
            "other flags may not be combined with --rollback: --",
        ),
        *(
            (f"{kind} inspect --pretty --format x y", 1, "--format is incompatible with human")
            for kind in ("service", "node", "secret", "config")
        ),
        ("service inspect", 1, '"swarmlite service inspect" requires at least 1 argument.'),
        ("swarm join --token t", 1, '"swarmlite swarm join" requires exactly 1 argument.'),
        ("nonsense", 1, "unknown command: swarmlite nonsense. See 'swarmlite --help'."),
        (
            "service create -p 99999:80 x",
            125,
            'invalid argument "99999:80" for "-p, --publish" flag: published port is a whole number'
            " from 1 to 65535, not '99999'",
        ),
        (
            "service create --mount type=bind,src=x,dst=/y x",
            125,
            "source of a bind is an absolute path, not 'x'",
        ),
        ("service create --mount targt=/y x", 125, "unknown key 'targt'; did you mean 'target'?"),
        ("service create --limit-memory lots x", 125, "'lots' is not a size"),
        ("service create --update-delay 5 x", 125, "'5' is not a duration"),
        ("service create --replicas -1 x", 125, "expected a whole number, 0 or more"),
        ("service create --mode weird x", 1, "unknown mode 'weird': expected replicated, global"),
        ("service create --mode global --replicas 2 x", 1, "--replicas cannot be used with"),
        ("service create --env-file /nonexistent x", 1, "/nonexistent: No such file or directory"),
        ("service create --detach=maybe x", 125, "expected true or false"),
        ("service scale web", 1, "expected SERVICE=REPLICAS, for example web=3"),
        ("network create --aux-address x n", 125, "expected NAME=IP"),
        ("network create --aux-address x=y n", 125, "'y' is not an IP address"),
        ("network create --subnet 10.0.0.1/8 n", 125, "expected a network in CIDR form"),
        ("stack deploy x", 1, "please specify a Compose file (with --compose-file)"),
        ("stack deploy -c /nonexistent.yml x", 1, "/nonexistent.yml: No such file or directory"),
        (
            "service ls",
            1,
            "Cannot connect to swarmlited at /nonexistent/run/swarmlited.sock. Is it running?"
            " (systemctl start swarmlited, or swarmlited &)",
        ),
        ("images", 1, "Cannot connect to swarmlited"),
        ("swarm init", 1, "Cannot connect to swarmlited"),
    ],
)
def test_one_line_says_it(run: Any, line: str, status: int, said: str) -> None:
    result = run(*line.split())
    assert said in result.err
    assert result.err.count("\n") == 1
    assert result.status == status
    assert result.out == ""


@pytest.mark.parametrize(
    ("flags", "field", "said"),
    [
        ("--mode replicated-job --update-delay 1s", "update", "a job has no update config"),
        ("--endpoint-mode dnsrr -p 80:80", "endpoint-mode", "dnsrr"),
        ("--mode global --replicas-max-per-node 2", "--replicas-max-per-node", "--mode global"),
        ("--network nowhere", "nowhere", "not found"),
        ("--secret nowhere", "nowhere", "not found"),
        ("--config nowhere", "nowhere", "not found"),
        ("--limit-cpu 0.0001", "cpu", "0.001"),
        ("--limit-memory 1m", "memory", "4MiB"),
        ("--constraint node.size==3", "node.size", "unknown key"),
        ("--placement-pref spread=node.size", "node.size", "unknown key"),
        ("--restart-window 1s --mode global-job --replicas 2", "--replicas", "cannot be used with"),
        ("--schedule @daily", "--schedule", "job"),
        ("--replicas-min 3 --replicas-max 2 --scale-cpu 50", "--replicas-m", "2"),
        ("--update-canary-promote manual", "--update-canary-promote", "--update-canary"),
        ("--depends-on nobody:soon", "--depends-on", "healthy"),
        ("--hostname {{.Node", "hostname", "template"),
        ("--mount type=volume,src=a,dst=/d --mount type=tmpfs,dst=/d", "/d", "twice"),
        ("--stop-signal NOPE", "NOPE", "signal"),
        ("--restart-max-attempts -1", "--restart-max-attempts", "0 or more"),
    ],
)
def test_a_field_that_is_wrong_or_contradicts_another_is_named_and_nothing_is_stored(
    run: Any, world: Any, flags: str, field: str, said: str
) -> None:
    line = ["service", "create", "-d", "--no-resolve-image", "--name", "web"]
    result = run(*line, *flags.split(), "x")
    assert result.status in (1, 125)
    assert result.err.count("\n") == 1
    assert field in result.err, result.err
    assert said in result.err, result.err
    assert run("service", "ls", "-q").out == ""


@pytest.mark.parametrize("name", ["a\nb", "a/b", "x" * 64, "-a", ""])
@pytest.mark.parametrize("noun", ["service", "network", "secret", "config"])
def test_a_name_that_is_none_is_refused_and_written_out(
    run: Any, world: Any, noun: str, name: str
) -> None:
    words = {
        "service": ["-d", "--no-resolve-image", f"--name={name}", "x"],
        "network": ["-d", "overlay", "--", name],
        "secret": ["--", name, "/proc/version"],
        "config": ["--", name, "/proc/version"],
    }[noun]
    result = run(noun, "create", *words)
    if not name and noun == "service":
        return  # it is given one
    if noun in ("secret", "config") and name == "x" * 64:
        name = "x" * 65
        result = run(noun, "create", "--", name, "/proc/version")
    assert result.status in (1, 125), result.out
    assert result.err.count("\n") == 1


def test_a_worker_says_that_it_is_one(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    answer = {"ok": {"swarm": "active", "role": "worker", "node_id": "n"}}
    with _daemon(tmp_path, answer):
        monkeypatch.setenv("SWARMLITE_RUN_DIR", str(tmp_path))
        result = run("node", "ls")
    assert result.status == 1
    assert result.err.startswith("This node is not a swarm manager. Worker nodes can't")


def test_the_host_is_taken_from_the_environment(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    with _daemon(tmp_path, {"ok": {"swarm": "inactive"}}):
        monkeypatch.setenv("SWARMLITE_HOST", f"unix://{tmp_path}")
        assert "This node is not a swarm manager." in run("service", "ls").err
    monkeypatch.setenv("SWARMLITE_HOST", "http://elsewhere")
    refused = run("service", "ls")
    assert refused.status == 1
    assert refused.err.startswith("SWARMLITE_HOST: 'http://elsewhere': unknown scheme 'http'")


def test_outside_of_a_swarm_it_says_how_to_get_in(
    run: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    with _daemon(tmp_path, {"ok": {"swarm": "inactive"}}):
        monkeypatch.setenv("SWARMLITE_RUN_DIR", str(tmp_path))
        result = run("service", "ls")
    assert 'Use "swarmlite swarm init" or "swarmlite swarm join"' in result.err


def test_init_prints_the_command_that_joins(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    reply = {"node_id": "n1", "worker_token": "SWMTKN-1-a-b", "manager_addr": "192.0.2.1:2377"}
    with _daemon(tmp_path, {"ok": reply}) as requests:
        monkeypatch.setenv("SWARMLITE_RUN_DIR", str(tmp_path))
        result = run("swarm", "init", "--advertise-addr", "192.0.2.1", "--cert-expiry", "2h")
    assert result.out == (
        "Swarm initialized: current node (n1) is now a manager.\n\n"
        "To add a worker to this swarm, run the following command:\n\n"
        "    swarmlite swarm join --token SWMTKN-1-a-b 192.0.2.1:2377\n\n"
        "To add a manager to this swarm, run 'swarmlite swarm join-token manager' and follow the"
        " instructions.\n\n"
    )
    assert requests == [{"op": "init", "advertise_addr": "192.0.2.1", "cert_expiry_s": 7200.0}]


@pytest.mark.parametrize("managers", [1, 2, 3])
def test_who_makes_a_swarm_one_of_two_managers_is_warned(
    run: Any, tmp_path: Path, monkeypatch: Any, managers: int
) -> None:
    reply = {"node_id": "n2", "role": "manager", "managers": managers}
    with _daemon(tmp_path, {"ok": reply}):
        monkeypatch.setenv("SWARMLITE_RUN_DIR", str(tmp_path))
        result = run("swarm", "join", "--token", "SWMTKN-1-a-b", "192.0.2.1")
    assert result.out == "This node joined a swarm as a manager.\n"
    warning = "this swarm has 2 managers, and stops being managed when either is lost"
    assert (warning in result.err) == (managers == 2)


def test_a_refusal_of_the_daemon_is_the_line(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    with _daemon(tmp_path, {"error": "This node is already part of a swarm."}):
        monkeypatch.setenv("SWARMLITE_RUN_DIR", str(tmp_path))
        result = run("swarm", "init")
    assert (result.status, result.err) == (1, "This node is already part of a swarm.\n")


class _daemon:
    """swarmlited's side of its socket: every request is answered with one line."""

    def __init__(self, folder: Path, answer: dict[str, Any]) -> None:
        self.requests: list[Any] = []
        self._answer = json.dumps(answer).encode() + b"\n"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(folder / "swarmlited.sock"))
        self._socket.listen()

    def __enter__(self) -> list[Any]:
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self.requests

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("r") as lines:
                self.requests.append(json.loads(lines.readline()))
                connection.sendall(self._answer)

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


def test_help_loads_neither_grpc_nor_protobuf() -> None:
    import subprocess
    import sys

    script = (
        "import sys; from swarmlite.cli import app; app.run(['--help']); app.run(['service'])\n"
        "assert not {'grpc', 'google.protobuf', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_a_command_loads_the_compiled_protobuf_only() -> None:
    """The other implementation was a fifth of its time; who asks for it after all has it."""
    import subprocess
    import sys

    script = (
        "import sys; import swarmlite.cli.service.create\n"
        "assert 'google.protobuf' in sys.modules\n"
        "assert 'google.protobuf.internal.decoder' not in sys.modules\n"
        "from google.protobuf.internal import python_message\n"
        "assert python_message.GeneratedProtocolMessageType\n"
        "assert 'google.protobuf.internal.decoder' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_every_verb_has_help(run: Any) -> None:
    import click

    from swarmlite.cli.root import root

    def walk(group: click.Group, words: list[str]) -> None:
        context = click.Context(group)
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            if isinstance(found, click.Group):
                walk(found, [*words, name])
            else:
                shown = run(*words, name, "--help")
                assert (shown.status, shown.err) == (0, "")

    walk(root, [])
