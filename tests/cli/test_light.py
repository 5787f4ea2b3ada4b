"""The list that loads nothing: the same text as the command's own, and nothing where it is not.

And what other commands do without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import swarmlite
from swarmlite.cli import light

CREATE = ("service", "create", "-d", "--no-resolve-image")
LIBRARY = Path(swarmlite.__file__).parent.parent
LAUNCHER = f"""\
import sys

sys.path.append("{LIBRARY}")
sys.argv[0] = "swarmlite"
from swarmlite.cli import main

sys.exit(main())
"""


def launched(*args: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """As the package's launcher starts it: a bare interpreter."""
    command = [sys.executable, "-IS", *flags, "-c", LAUNCHER, *args]
    # Output to a pipe is as long as it is; the environment is that of the test.
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)


@pytest.fixture
def services(run: Any, world: Any) -> Any:
    """Some of every mode, with and without ports."""
    run(*CREATE, "--name", "web10", "-p", "8080-8081:80-81", "-p", "53:53/udp", "nginx:1.25")
    run(*CREATE, "--name", "web2", "--replicas", "3", "--replicas-max-per-node", "2", "nginx")
    run(*CREATE, "--name", "agent", "--mode", "global", f"nginx:1@sha256:{'a' * 64}")
    run(*CREATE, "--name", "job", "--mode", "replicated-job", "--replicas", "4", "nginx")
    return world


def test_the_plain_list_is_that_of_the_command_itself(run: Any, services: Any) -> None:
    """Also of what has changed since the list was asked for last, and without any service."""
    for args in (["service", "ls"], ["service", "list"]):
        assert light.listed(args) == run(*args).out
    assert run("service", "scale", "-d", "web2=5").status == 0
    assert run("service", "rm", "job").status == 0
    text = light.listed(["service", "ls"])
    assert text == run("service", "ls").out
    assert text is not None and "0/5 (max 2 per node)" in text and "job" not in text
    assert run("service", "rm", "web10", "web2", "agent").status == 0
    assert light.listed(["service", "ls"]) == run("service", "ls").out != ""


def test_the_list_of_a_bare_interpreter_loads_neither_click_nor_protobuf(
    run: Any, services: Any
) -> None:
    made = launched("service", "ls", flags=("-X", "importtime"))
    assert (made.returncode, made.stdout) == (0, run("service", "ls").out)
    loaded = {line.rpartition("|")[2].strip() for line in made.stderr.splitlines()}
    assert "swarmlite.cli.light" in loaded
    assert not loaded & {"click", "google.protobuf", "grpc", "site", "socket", "typing"}


def test_a_bare_interpreter_completes_itself_for_every_other_command(
    run: Any, services: Any
) -> None:
    for args in (
        ("service", "ls", "-q"),
        ("service", "ls", "--filter", "name=web"),
        ("service", "inspect", "web2"),
        ("--version",),
    ):
        made, expected = launched(*args), run(*args)
        assert (made.returncode, made.stdout) == (expected.status, expected.out), made.stderr
    made = launched("service", "ls", "--nope")
    assert (made.returncode, made.stderr) == (125, run("service", "ls", "--nope").err)
    assert launched("--help").stdout.startswith("Usage: swarmlite")


@pytest.mark.parametrize(
    "line",
    [
        "service ls -q",
        "service ls extra",
        "--host tcp://10.0.0.1:2375 service ls",
        "-D service ls",
        "--run-dir service ls",
        "node ls",
        "ls",
        "",
    ],
)
def test_what_is_not_as_plain_is_left_to_the_command(services: Any, line: str) -> None:
    assert light.listed(line.split()) is None


def test_directories_are_taken_as_the_command_takes_them(
    run: Any, services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(services.socket_path.parent)
    monkeypatch.setenv("SWARMLITE_RUN_DIR", "/nonexistent/run")
    assert light.listed(["service", "ls"]) is None
    named = ["--run-dir", folder, "--state-dir", folder, "service", "ls"]
    assert light.listed(named) == run(*named).out


@pytest.mark.parametrize("variable", ["SWARMLITE_HOST", "SWARMLITE_CONTEXT"])
def test_another_node_is_left_to_the_command(
    services: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "other")
    assert light.listed(["service", "ls"]) is None


def test_a_chosen_context_is_left_to_the_command(
    services: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SWARMLITE_CONFIG", str(tmp_path))
    monkeypatch.delenv("SWARMLITE_RUN_DIR")
    (tmp_path / "contexts").mkdir()
    (tmp_path / "contexts" / "current").write_text("far")
    assert light.listed(["service", "ls"]) is None


@pytest.mark.parametrize("line", ["--help", "service ls", "service ls -q", "node ls"])
def test_without_an_output_a_command_ends_as_with_one(run: Any, services: Any, line: str) -> None:
    """As daemons start them: descriptors 1 and 2 are closed."""
    for closed in (">&-", ">&- 2>&-"):
        command = [sys.executable, "-IS", "-c", LAUNCHER, *line.split()]
        made = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *command], stderr=subprocess.PIPE, check=False
        )
        assert (made.returncode, made.stderr) == (0, b"")


SLOW = {"pickle", "google.protobuf.text_format", "_posixsubprocess", "_ctypes", "ssl", "asyncio"}
"""What libraries would load for python_message and subprocess, and others for their own use."""
OF_OTHERS = {
    "swarmlite.model.templates",
    "swarmlite.model.validate",
    "swarmlite.proto.containers_pb2",
    "swarmlite.proto.images_pb2",
    "swarmlite.cli.service.progress",
    "hashlib",
}


def loaded(*args: str) -> set[str]:
    """The modules of one command, which succeeds."""
    made = launched(*args, flags=("-X", "importtime"))
    assert made.returncode == 0, made.stderr[-2000:]
    return {line.rpartition("|")[2].strip() for line in made.stderr.splitlines()}


def test_a_service_is_created_without_what_other_commands_need(run: Any, world: Any) -> None:
    found = loaded(*CREATE, "--name", "web", "--publish", "8080:80", "-e", "A=b", "nginx")
    assert "swarmlite.cli.service.spec" in found
    assert not found & (SLOW | OF_OTHERS)


@pytest.mark.parametrize(
    "line", ["service ps web", "service ls -q", "node ls", "stack services web", "service rm web"]
)
def test_what_is_typed_most_loads_what_it_needs(run: Any, world: Any, line: str) -> None:
    run(*CREATE, "--name", "web", "--label", "com.docker.stack.namespace=web", "nginx")
    assert not loaded(*line.split()) & (SLOW | OF_OTHERS)
