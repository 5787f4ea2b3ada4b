"""Logs to journald and syslog: real sockets, on a supervisor whose /run is the test's own."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from rt_harness import Containers, connect, sweep

from swarmlite import errors
from swarmlite.runtime import logs
from swarmlite.runtime.client import Log, LogFile
from swarmlite.runtime.supervisor import __main__ as program


class Own:
    """A supervisor in a mount namespace with an empty /run, and what it complained of."""

    def __init__(self, directory: Path) -> None:
        self.socket, self.said = directory / "s.sock", directory / "said"
        script = 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal && exec "$@" 2>"$0"'
        self.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, str(self.said), sys.executable, "-I", "-S",
             program.__file__, "--socket", str(self.socket), "--state-dir", str(directory / "st")],
        )  # fmt: skip

    def path(self, inside: str) -> str:
        return f"/proc/{self.process.pid}/root{inside}"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    made = Own(tmp_path_factory.mktemp("own"))
    try:
        yield made
    finally:
        made.process.terminate()
        try:
            made.process.wait(20)
        except subprocess.TimeoutExpired:
            made.process.kill()
            made.process.wait()
        sweep()


@pytest_asyncio.fixture
async def containers(own: Own, tmp_path: Path, busybox_root: Path) -> AsyncIterator[Containers]:
    client = await connect(own.socket)
    made = Containers(client, tmp_path, busybox_root)
    yield made
    for container_id in made.ids:
        await client.delete(container_id, force=True)
    await client.close()


@pytest.fixture
def listening() -> Iterator[Any]:
    """Makes bound sockets, which are closed at the end, and their files removed."""
    made: list[socket.socket] = []
    paths: list[str] = []

    def listen(kind: int, address: Any, family: int = socket.AF_UNIX) -> socket.socket:
        sock = socket.socket(family, kind)
        made.append(sock)
        sock.settimeout(30)
        sock.bind(address)
        if family == socket.AF_UNIX:
            paths.append(address)
        if kind == socket.SOCK_STREAM:
            sock.listen(4)
        return sock

    yield listen
    for sock in made:
        sock.close()
    for path in paths:
        Path(path).unlink(missing_ok=True)


async def run(containers: Containers, log: Log, *args: str) -> str:
    cid, bundle = containers.bundle(*args)
    await containers.supervisor.create(cid, bundle, log=log)
    containers.ids.append(cid)
    await containers.supervisor.start(cid)
    return cid


def syslog(transport: str, **more: Any) -> Log:
    remote = {
        "kind": "syslog", "transport": transport, "facility": 3, "format": "", "tag": "web",
        "hostname": "host1", **more,
    }  # fmt: skip
    return Log(remote=remote)


def fields(datagram: bytes) -> dict[str, bytes]:
    """A message of journald's native protocol."""
    found = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, separator, value = line.partition(b"=")
        if not separator:
            (length,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + length], rest[9 + length :]
        found[name.decode()] = value
        datagram = rest
    return found


async def test_journald_gets_fields_priorities_and_parts(
    containers: Containers, own: Own, listening: Any, tmp_path: Path
) -> None:
    journal = listening(socket.SOCK_DGRAM, own.path("/run/systemd/journal/socket"))
    remote = {"kind": "journald", "fields": {"CONTAINER_NAME": "web", "NOTE": "two\nlines"}}
    script = "echo one; sleep 0.2; echo bad >&2; head -c 20000 /dev/zero | tr '\\0' x; echo"
    cid = await run(containers, Log(LogFile(tmp_path / "kept"), remote=remote), "sh", "-c", script)
    await containers.supervisor.wait(cid)
    messages = [fields(await asyncio.to_thread(journal.recv, 1 << 18)) for _ in range(4)]
    assert all(m["CONTAINER_NAME"] == b"web" for m in messages)
    assert all(m["NOTE"] == b"two\nlines" for m in messages)
    by_text = {m["MESSAGE"]: m for m in messages}
    assert by_text[b"one"]["PRIORITY"] == b"6" and by_text[b"bad"]["PRIORITY"] == b"3"
    parts = [m for m in messages if m["MESSAGE"].startswith(b"x")]
    assert b"".join(m["MESSAGE"] for m in parts) == b"x" * 20000
    assert [m.get("CONTAINER_PARTIAL_MESSAGE") for m in parts] == [b"true", None]
    kept = [line.data async for line in logs.read(tmp_path / "kept")]
    assert b"one\n" in kept and b"bad\n" in kept  # the copy that `logs` reads


async def test_without_journald_or_a_local_socket_nothing_starts(
    containers: Containers, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nosuch" / "log"
    for log, words in (
        (Log(remote={"kind": "journald", "fields": {}}), "failed to initialize.*journald"),
        (syslog("unixgram", path=str(nowhere)), "failed to initialize.*nosuch"),
        (Log(LogFile(nowhere)), "failed to initialize.*No such file"),
    ):
        with pytest.raises(errors.FailedPrecondition, match=words):
            await run(containers, log, "true")


STAMP = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("", rf"<30>{STAMP} web\[\d+\]: hello\n"),
        ("rfc3164", rf"<30>{STAMP} host1 web\[\d+\]: hello\n"),
        ("rfc5424", r"<30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ host1 web \d+ web - hello\n"),
        ("rfc5424micro", r"<30>1 \d{4}-\d\d-\d\dT[\d:]+\.\d{6}Z host1 web \d+ web - hello\n"),
    ],
)
async def test_syslog_over_udp_in_every_form(
    containers: Containers, listening: Any, form: str, pattern: str
) -> None:
    server = listening(socket.SOCK_DGRAM, ("127.0.0.1", 0), socket.AF_INET)
    port = server.getsockname()[1]
    log = syslog("udp", address="127.0.0.1", port=port, format=form)
    await run(containers, log, "echo", "hello")
    assert re.fullmatch(pattern, (await asyncio.to_thread(server.recv, 4096)).decode())


async def test_syslog_to_the_hosts_own_socket_and_to_others(
    containers: Containers, own: Own, listening: Any, tmp_path: Path
) -> None:
    for kind, log, path in (
        (socket.SOCK_DGRAM, syslog(""), own.path("/run/log")),
        (socket.SOCK_DGRAM, syslog("unixgram", path=f"{tmp_path}/g"), f"{tmp_path}/g"),
    ):
        if path.endswith("/run/log") and Path("/dev/log").exists():
            continue  # this host has a syslog server of its own, which would get the line
        server = listening(kind, path)
        await run(containers, log, "sh", "-c", "echo bad >&2")
        assert re.fullmatch(
            rf"<27>{STAMP} web\[\d+\]: bad\n", (await asyncio.to_thread(server.recv, 4096)).decode()
        )


async def test_a_stream_that_breaks_is_connected_again_and_no_line_is_cut(
    containers: Containers, listening: Any, tmp_path: Path
) -> None:
    server = listening(socket.SOCK_STREAM, f"{tmp_path}/log")
    script = "echo first; while [ ! -e /tmp/go ]; do sleep 0.05; done; seq 1 1000"
    cid = await run(containers, syslog("unix", path=f"{tmp_path}/log"), "sh", "-c", script)
    connection, _ = await asyncio.to_thread(server.accept)
    connection.settimeout(30)
    assert (await asyncio.to_thread(connection.recv, 4096)).endswith(b": first\n")
    connection.close()
    await containers.exec(cid, "touch", "/tmp/go")
    connection, _ = await asyncio.to_thread(server.accept)
    connection.settimeout(30)
    received = b""
    while not received.endswith(b": 1000\n"):
        block = await asyncio.to_thread(connection.recv, 65536)
        assert block
        received += block
    connection.close()
    numbers = [int(line.rpartition(b" ")[2]) for line in received.splitlines()]
    assert numbers == list(range(1, 1001))


async def test_a_server_that_takes_nothing_holds_the_container_only_for_a_while(
    containers: Containers, own: Own, listening: Any
) -> None:
    server = listening(socket.SOCK_STREAM, ("127.0.0.1", 0), socket.AF_INET)
    log = syslog("tcp", address="127.0.0.1", port=server.getsockname()[1])
    flood = await run(containers, log, "sh", "-c", "head -c 9000000 /dev/zero | tr '\\0' '\\n'")
    connection, _ = await asyncio.to_thread(server.accept)
    with connection:
        # meanwhile others run as ever
        quick = await run(containers, Log(), "true")
        assert (await asyncio.wait_for(containers.supervisor.wait(quick), 30)).exit_code == 0
        assert (await containers.supervisor.state(flood)).status == "running"
        state = await asyncio.wait_for(containers.supervisor.wait(flood), 120)
        assert state.exit_code == 0
        assert "takes nothing for 10 s" in own.said.read_text()


async def test_without_blocking_what_exceeds_the_buffer_is_dropped_at_once(
    containers: Containers, own: Own, listening: Any, tmp_path: Path
) -> None:
    listening(socket.SOCK_STREAM, f"{tmp_path}/log")
    remote = dict(syslog("unix", path=f"{tmp_path}/log").remote or {})
    log = Log(LogFile(tmp_path / "kept"), remote=remote, blocking=False, max_buffer_bytes=100_000)
    cid = await run(containers, log, "sh", "-c", "seq 1 100000; echo end")
    assert (await asyncio.wait_for(containers.supervisor.wait(cid), 60)).exit_code == 0
    kept = [line.data async for line in logs.read(tmp_path / "kept", tail=2)]
    assert kept == [b"100000\n", b"end\n"]
    assert f"{tmp_path}/log: takes too little: lines are dropped" in own.said.read_text()
