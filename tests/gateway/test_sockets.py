"""The sockets of a node: started at the first connection, ended when idle, TLS with half-close."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from raw_host import Stream, Unix

from swarmlite.testing import Cluster, Host
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

WAIT_S = 60.0
PORT = 2376


class Node:
    """A host whose daemon holds the sockets."""

    def __init__(self, host: Host, image: str, ours: Authority, others: Authority) -> None:
        self.host, self.image, self.ours, self.others = host, image, ours, others

    @property
    def socket(self) -> Path:
        return self.host.paths.docker_socket

    def api(self, method: str, path: str, body: Any = None) -> Any:
        connection = Unix(self.socket)
        data = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status < 400, said
            return json.loads(said) if said.strip().startswith((b"{", b"[")) else said
        finally:
            connection.close()

    @property
    def gateway(self) -> dict[str, Any]:
        return dict(self.host.status()["children"].get("gateway", {}))

    def tls(self, authority: Authority, name: str) -> Tls:
        context = ssl.create_default_context(cafile=str(self.ours.file))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # a bare CA, as owners make them
        certificate, key = authority.issue(name)
        context.load_cert_chain(certificate, key)
        plain = socket.create_connection((self.host.addr, PORT), timeout=WAIT_S)
        return Tls(context, plain, self.host.addr)


class Tls:
    """A client's side that can end what it writes and read on, as Go's can."""

    def __init__(self, context: ssl.SSLContext, plain: socket.socket, name: str) -> None:
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._run(self._tls.do_handshake)

    def _run(self, step: Any) -> Any:
        while True:
            try:
                done = step()
                self._plain.sendall(self._outgoing.read())
                return done
            except ssl.SSLWantReadError:
                self._plain.sendall(self._outgoing.read())
                data = self._plain.recv(65536)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()

    def sendall(self, data: bytes) -> None:
        self._run(lambda: self._tls.write(data))

    def recv(self, size: int) -> bytes:
        try:
            return bytes(self._run(lambda: self._tls.read(size)))
        except ssl.SSLZeroReturnError:
            return b""

    def half_close(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._plain.sendall(self._outgoing.read())

    def close(self) -> None:
        self._plain.close()

    def __enter__(self) -> Tls:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces and mounts")
    folder = tmp_path_factory.mktemp("sockets")
    ours, others = Authority(folder, "ours"), Authority(folder, "others")
    with Cluster(1, 0, name=f"sockets{os.getpid()}", swarm=False) as cluster:
        assert cluster.lan is not None
        host = cluster.manager
        certificate, key = ours.issue("server", host.addr, server=True)
        host.stop_daemon()
        host.daemon_options += [
            *("--docker-idle", "1", "--docker-socket-link", str(folder / "docker.sock")),
            *("--docker-tcp", f"0.0.0.0:{PORT}", "--docker-tls-ca", str(ours.file)),
            *("--docker-tls-cert", str(certificate), "--docker-tls-key", str(key)),
        ]
        host.start_daemon()
        with Registry(cluster.lan.gateway) as registry:
            image = registry.push(debian_images.busybox())
            host.cli("pull", image)
        yield Node(host, image, ours, others)


def until(probe: Any) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := probe()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return found


def test_the_process_comes_with_a_connection_and_goes_when_idle(node: Node) -> None:
    until(lambda: not node.gateway.get("pid"))
    starts = node.gateway.get("restarts", -1)
    mode = node.socket.stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660
    assert node.api("GET", "/_ping") == b"OK"
    assert node.gateway["pid"] and node.gateway["restarts"] == starts + 1
    until(lambda: node.gateway["pid"] is None)
    assert node.gateway["last_exit"] == "exit 0"
    assert node.api("GET", "/version")["ApiVersion"]


def test_a_connection_is_answered_also_when_the_process_is_killed_before(node: Node) -> None:
    """It is killed at any time, and keeps nothing: containers and what was answered stay."""
    made = node.api(
        "POST", "/containers/create?name=kept", {"Image": node.image, "Cmd": ["sleep", "600"]}
    )
    node.api("POST", f"/containers/{made['Id']}/start")
    pid = until(lambda: node.gateway.get("pid"))
    node.host.run("kill", f"-{signal.SIGKILL.value}", str(pid))
    assert node.api("GET", "/containers/kept/json")["State"]["Running"] is True
    node.api("DELETE", "/containers/kept?force=1")


def test_a_socket_of_another_node_is_linked_and_nothing_else_replaced(node: Node) -> None:
    link = node.ours.folder / "docker.sock"
    assert link.is_symlink() and link.resolve() == node.socket.resolve()
    taken = node.ours.folder / "taken"
    taken.write_text("x")
    done = node.host.run(*("python3", "-c", "pass"), check=False)  # the host answers
    assert done.returncode == 0
    from swarmlite.errors import InvalidSpec
    from swarmlite.node.dockersocket import DockerOptions, DockerSocket

    with pytest.raises(InvalidSpec, match="another engine's"):
        DockerSocket(node.host.paths, DockerOptions(socket=False, link=taken)).open()
    assert taken.read_text() == "x"


def test_tcp_without_tls_is_refused_unless_it_is_asked_for_by_its_name(tmp_path: Path) -> None:
    from swarmlite.errors import InvalidSpec
    from swarmlite.node.dockersocket import DockerSocket, options_of
    from swarmlite.node.flags import parse
    from swarmlite.paths import Paths

    paths = Paths(tmp_path, tmp_path)
    off = ["--docker-socket", "off"]
    bare = options_of(parse([*off, "--docker-tcp", "127.0.0.1:0"]))
    with pytest.raises(InvalidSpec, match="would be root on this host"):
        DockerSocket(paths, bare).open()
    said = options_of(parse([*off, "--docker-tcp-without-tls-anyone-is-root", "127.0.0.1:0"]))
    held = DockerSocket(paths, said)
    held.open()
    held.close()
    with pytest.raises(InvalidSpec, match="go together"):
        options_of(parse([*off, "--docker-tls-ca", "x"]))


def test_tls_takes_a_client_of_the_authority_and_no_other(node: Node) -> None:
    with node.tls(node.ours, "client") as client:
        client.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        found = b""
        while data := client.recv(65536):
            found += data
        assert found.startswith(b"HTTP/1.1 200") and found.endswith(b"OK")
    with (
        pytest.raises((ssl.SSLError, ConnectionError)),
        node.tls(node.others, "stranger") as stranger,
    ):
        stranger.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
        if not stranger.recv(100):
            raise ConnectionError("closed")


def test_exec_over_tls_is_half_closed_and_gives_all_of_its_output(node: Node) -> None:
    """Docker's command printed nothing over asyncio's TLS, and returned 0."""
    made = node.api("POST", "/containers/create", {"Image": node.image, "Cmd": ["sleep", "600"]})
    node.api("POST", f"/containers/{made['Id']}/start")
    command = ["sh", "-c", "cat >/tmp/in; wc -c </tmp/in; seq 1 50000"]
    asked = {"Cmd": command, "AttachStdin": True, "AttachStdout": True}
    run = node.api("POST", f"/containers/{made['Id']}/exec", asked)["Id"]
    client = node.tls(node.ours, "runner")
    body = b'{"Detach": false}'
    client.sendall(
        f"POST /exec/{run}/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    stream = Stream(client)
    client.sendall(b"y" * 300_000)
    client.half_close()
    output = b"".join(data for _, data in stream.frames()).split()
    assert output[0] == b"300000" and output[-1] == b"50000"
    stream.close()
    node.api("DELETE", f"/containers/{made['Id']}?force=1")


def test_the_process_loads_no_client_and_nothing_that_no_request_needs() -> None:
    """A first request waits for it; who asks for the rest of aiohttp gets it."""
    script = """
import sys
from swarmlite.gateway import serverside
serverside.prepare()
import swarmlite.gateway.process
serverside.loaded()
heavy = ("aiohttp.client", "aiohttp.web_app", "zstandard", "cryptography", "click", "ssl")
print([name for name in heavy if name in sys.modules])
import aiohttp
print(aiohttp.ClientSession.__name__, aiohttp.web is sys.modules["aiohttp.web"])
from aiohttp import web, web_response
print(web.Application.__name__, web.Response is web_response.Response)
import attr.validators, ssl, typing_extensions, urllib.request
print(urllib.request.HTTPSHandler.__name__)
print(bool(attr.validators.instance_of(int)), bool(ssl.SSLContext), typing_extensions.TypeAliasType)
"""
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=WAIT_S, check=True)
    assert done.stdout.splitlines()[:3] == ["[]", "ClientSession True", "Application True"]
    assert done.stdout.splitlines()[3] == "HTTPSHandler"
