"""The command line at one host and the node on another: by ssh and by TLS, the same as at home."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from remote_host import PORT, WAIT_S, Remote, remote

pytestmark = pytest.mark.timeout(600)
WAYS = ("ssh", "tcp")
BIG = bytes(range(256)) * 8192


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """The node is made a swarm of one, from the desk."""
    with remote(tmp_path_factory.mktemp("far")) as made:
        told = made.cli("-c", "tcp", "swarm", "init", "--advertise-addr", made.node.addr)
        assert "is now a manager" in told
        yield made


@pytest.mark.parametrize("way", WAYS)
def test_containers_of_a_remote_node_are_run_as_those_of_this_host(far: Remote, way: str) -> None:
    """Exit codes, both directions of a stream with its half-close, and files of the desk."""
    run = ("-c", way, "run", "--rm", "-i", far.image)
    assert far.try_cli(*run, "sh", "-c", "exit 7").returncode == 7
    assert far.try_cli(*run, "cat", stdin=BIG).stdout == BIG
    assert far.cli("-c", way, "info", "--format", "{{.Name}}").strip() == far.node.name
    name = f"box-{way}"
    far.cli("-c", way, "run", "-d", "--name", name, far.image, "sleep", "600")
    source, back = far.folder / f"to-{way}", far.folder / f"from-{way}"
    source.write_bytes(BIG)
    far.cli("-c", way, "cp", str(source), f"{name}:/tmp/file")
    far.cli("-c", way, "cp", f"{name}:/tmp/file", str(back))
    assert back.read_bytes() == BIG
    told = far.cli("-c", way, "exec", "-i", name, "sh", "-c", "cat; hostname", stdin=b"in ")
    assert told.startswith("in ")
    far.cli("-c", way, "rm", "-f", name)


@pytest.mark.parametrize("way", WAYS)
def test_a_stack_is_deployed_from_files_of_this_host(far: Remote, way: str) -> None:
    folder = far.folder / f"stack-{way}"
    folder.mkdir()
    (folder / "word").write_text("from the desk\n")
    (folder / "compose.yml").write_text(
        f"services:\n  web:\n    image: {far.image}\n"
        "    command: [sh, -c, 'cat /run/secrets/word; sleep 600']\n    secrets: [word]\n"
        # A shell hears no SIGTERM, and removing waits for it; so does deploying, for its monitor.
        "    stop_grace_period: 0s\n    deploy: {update_config: {monitor: 100ms}}\n"
        "secrets:\n  word:\n    file: ./word\n"
    )
    stack = f"far{way}"
    file = str(folder / "compose.yml")
    far.cli("-c", way, "stack", "deploy", "--detach=false", "-c", file, stack)
    assert f"{stack}_web" in far.node.cli("service", "ls", "--format", "{{.Name}}")
    deadline = time.monotonic() + WAIT_S
    while "from the desk" not in far.cli("-c", way, "service", "logs", f"{stack}_web"):
        assert time.monotonic() < deadline
    [line] = far.cli("-c", way, "node", "ls", "--format", "{{.Hostname}} {{.Self}}").splitlines()
    assert line == f"{far.node.name} true"
    assert far.node.addr in far.cli("-c", way, "swarm", "join-token", "worker")
    far.cli("-c", way, "stack", "rm", stack)


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_ends_with_its_reader(far: Remote, way: str) -> None:
    """What follows a log over there is over once the command here is."""
    name = f"talks-{way}"
    far.cli("-c", way, "run", "-d", "--name", name, far.image, "sh", "-c", "echo hello; sleep 600")
    assert far.desk.machine is not None
    words = [sys.executable, "-c", "import sys; print(sys.stdin.readline(), end='')"]
    argv = [sys.executable, "-m", "swarmlite.cli", "-c", way, "logs", "-f", name]
    with (
        subprocess.Popen(
            far.desk.machine.enter(argv), stdout=subprocess.PIPE, env=far.environment
        ) as following,
        subprocess.Popen(words, stdin=following.stdout, stdout=subprocess.PIPE) as reading,
    ):
        assert reading.communicate(timeout=WAIT_S)[0] == b"hello\n"
        following.terminate()
        following.wait(WAIT_S)
    far.cli("-c", way, "rm", "-f", name)
    assert name not in far.cli("-c", way, "ps", "-a", "--format", "{{.Names}}")


@pytest.mark.parametrize("way", WAYS)
def test_the_page_is_enabled_and_opened_from_afar(far: Remote, way: str) -> None:
    """The link is of the node's own address, and signs in once."""
    port = 2390
    far.cli("-c", way, "ui", "enable", "--addr", f"0.0.0.0:{port}")
    try:
        link = urlsplit(far.cli("-c", way, "ui", "open", "--role", "reader").strip())
        assert (link.netloc, link.path) == (f"{far.node.addr}:{port}", "/ui/signin")
        roots = far.node.paths.certificates_dir / "ca.crt"
        context = ssl.create_default_context(cafile=str(roots))
        for status in (303, 403):
            with closing(
                HTTPSConnection(far.node.addr, port, context=context, timeout=WAIT_S)
            ) as page:
                page.request("GET", f"{link.path}?{link.query}")
                assert page.getresponse().status == status
    finally:
        far.cli("-c", way, "ui", "disable")


def test_a_client_without_the_right_certificate_is_refused(far: Remote) -> None:
    """One line and status 1 each: nobody's, another authority's, none, and a node of no trust."""
    far.cli("context", "create", "stranger", "--docker", far.endpoint(far.others, "stranger"))
    address = f"tcp://{far.node.addr}:{PORT}"
    no_certificate = ("-H", address, "--tlscacert", str(far.ours.file))
    no_trust = ("-H", address, "--tlscacert", str(far.others.file))
    in_clear = ("-H", address, "--without-tls-anyone-on-the-way-is-root")
    for args, line in (
        (("-c", "stranger"), "Cannot connect to"),
        (no_certificate, "Cannot connect to"),
        (no_trust, "its certificate is refused"),
        (in_clear, "Cannot connect to|no node of swarmlite answers"),
    ):
        refused = far.try_cli(*args, "ps")
        said = refused.stderr.decode()
        assert refused.returncode == 1 and said.count("\n") == 1, said
        assert any(word in said for word in line.split("|")), said


def test_what_ssh_says_is_said(far: Remote) -> None:
    config = far.folder / "ssh_config"
    kept = config.read_text()
    config.write_text(kept.replace(f"{far.folder}/user\n", f"{far.folder}/stranger\n"))
    try:
        refused = far.try_cli("-H", f"ssh://root@{far.node.addr}", "ps", XDG_RUNTIME_DIR="/proc")
    finally:
        config.write_text(kept)
    assert refused.returncode == 1
    assert b"Permission denied (publickey" in refused.stderr


def test_a_certificate_folder_serves_as_docker_s_does(far: Remote) -> None:
    """SWARMLITE_HOST and SWARMLITE_CERT_PATH, without a context."""
    certificate, key = far.ours.issue("folder")
    folder = far.folder / "certs"
    folder.mkdir()
    for source, name in ((far.ours.file, "ca"), (certificate, "cert"), (key, "key")):
        (folder / f"{name}.pem").write_bytes(source.read_bytes())
    here = {
        "SWARMLITE_HOST": f"tcp://{far.node.addr}:{PORT}",
        "SWARMLITE_CERT_PATH": str(folder),
    }
    assert far.cli("node", "ls", "-q", **here).strip()


def test_a_node_that_is_not_there_is_said_to_be_so(far: Remote) -> None:
    """A port where nobody listens, and one where somebody else does."""
    clear = "--without-tls-anyone-on-the-way-is-root"
    refused = far.try_cli("-H", f"tcp://{far.node.addr}:1", clear, "ps")
    assert refused.stderr.decode() == (
        f"Cannot connect to tcp://{far.node.addr}:1: Connection refused\n"
    )
    wrong = far.try_cli("-H", f"tcp://{far.node.addr}:22", clear, "ps")
    said = wrong.stderr.decode()
    assert said.count("\n") == 1 and f"tcp://{far.node.addr}:22" in said
    assert "no node of swarmlite answers there" in said or "reset by peer" in said


def test_the_socket_of_docker_s_api_leads_to_the_whole_node(far: Remote, tmp_path: Path) -> None:
    """Which is how members of the group swarmlite use the command line."""
    path = far.node.paths.docker_socket
    there = ("-H", f"unix://{path}")
    assert far.cli(*there, "node", "ls", "-q").strip()
    assert far.try_cli(*there, "run", "--rm", "-i", far.image, "cat", stdin=BIG).stdout == BIG
    nobody = far.try_cli("-H", f"unix://{tmp_path}/x.sock", "ps")
    assert nobody.stderr.decode().startswith(f"Cannot connect to {tmp_path}/x.sock")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "y.sock"))
        other.listen()
        other.close()
    gone = far.try_cli("-H", f"unix://{tmp_path}/y.sock", "ps")
    assert b"Connection refused" in gone.stderr
