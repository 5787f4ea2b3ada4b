"""Streams: attach, exec, logs and wait, as Docker's clients open, half-close and leave them."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from raw_host import RawHost
from test_containers import container

CAT = ["cat"]
WAIT_S = 60.0


def until(probe: Any) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := probe()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return found


def execute(host: RawHost, ref: str, *command: str, **config: Any) -> str:
    body = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True, **config}
    return str(host.ok_api("POST", f"/containers/{ref}/exec", body)["Id"])


def test_exec_answers_101_and_frames_of_both_streams(host: RawHost) -> None:
    with container(host) as identity:
        run = execute(host, identity, "sh", "-c", "echo out; sleep 0.1; echo err >&2; exit 3")
        with host.hijack(f"/exec/{run}/start", {"Detach": False, "Tty": False}) as stream:
            assert stream.head.startswith("HTTP/1.1 101 UPGRADED\r\n")
            assert "Upgrade: tcp" in stream.head
            assert "application/vnd.docker.multiplexed-stream" in stream.head
            assert list(stream.frames()) == [(1, b"out\n"), (2, b"err\n")]
        shown = until(
            lambda: (s := host.ok_api("GET", f"/exec/{run}/json")) and not s["Running"] and s
        )
        assert shown["ExitCode"] == 3 and shown["ContainerID"] == identity
        again = host.api("POST", f"/exec/{run}/start", {"Detach": False})
        assert again.status == 409
        assert host.api("GET", "/exec/none/json").status == 404


@pytest.mark.parametrize("of", ["exec", "attach"])
def test_the_head_is_read_before_output_comes(host: RawHost, of: str) -> None:
    """docker-py loses what it reads together with the head, and of a short exec that is all."""
    with container(host, Cmd=["sh", "-c", "read line; echo out"], OpenStdin=True) as identity:
        path, query = f"/containers/{identity}/attach", {"stream": 1, "stdin": 1, "stdout": 1}
        body: Any = None
        if of == "exec":
            run = execute(host, identity, "echo", "out")
            path, query, body = f"/exec/{run}/start", {}, {"Detach": False}
        with host.asked(path, body, **query) as connection:
            if of == "exec":
                until(lambda: host.ok_api("GET", f"/exec/{run}/json")["ExitCode"] == 0)
            else:
                connection.sendall(b"\n")
                host.ok_api("POST", f"/containers/{identity}/wait")
            assert connection.recv(65536).endswith(b"\r\n\r\n")
            assert connection.recv(65536)[8:] == b"out\n"


def test_a_client_that_half_closes_at_once_gets_all_of_the_output(host: RawHost) -> None:
    """Docker's command does so without standard input; it would print nothing and return 0."""
    with container(host) as identity:
        run = execute(host, identity, "sh", "-c", "sleep 0.2; seq 1 20000")
        with host.hijack(f"/exec/{run}/start", {}) as stream:
            stream.half_close()
            output = b"".join(data for _, data in stream.frames())
        assert output.split()[-1] == b"20000" and output.count(b"\n") == 20000


def test_the_end_of_input_is_the_command_s_and_its_output_comes_after(host: RawHost) -> None:
    with container(host) as identity:
        run = execute(host, identity, "sh", "-c", "wc -c; echo done", AttachStdin=True)
        with host.hijack(f"/exec/{run}/start", {}) as stream:
            stream.send(b"x" * 1_000_000)
            stream.half_close()
            assert b"".join(d for _, d in stream.frames()) == b"1000000\ndone\n"


def test_input_that_comes_with_the_request_is_not_lost(host: RawHost) -> None:
    with container(host) as identity:
        run = execute(host, identity, "cat", AttachStdin=True)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(WAIT_S)
        connection.connect(str(host.socket_path))
        body = json.dumps({"Detach": False}).encode()
        connection.sendall(
            f"POST /exec/{run}/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
            + b"early\n"
        )
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while data := connection.recv(65536):
            found += data
        connection.close()
        assert found.endswith(b"early\n")


def test_a_command_that_cannot_be_run_says_so_in_the_stream(host: RawHost) -> None:
    with container(host) as identity:
        run = execute(host, identity, "/nothing/there")
        with host.hijack(f"/exec/{run}/start", {}) as stream:
            assert b"/nothing/there" in stream.raw()
        assert host.ok_api("GET", f"/exec/{run}/json")["ExitCode"] == 127


def test_a_detached_exec_is_answered_at_once(host: RawHost) -> None:
    with container(host) as identity:
        run = execute(host, identity, "sh", "-c", "echo x >/tmp/ran")
        assert host.api("POST", f"/exec/{run}/start", {"Detach": True}).status == 200
        base = f"/containers/{identity}"
        until(lambda: host.api("HEAD", f"{base}/archive", path="/tmp/ran").status == 200)


def test_a_terminal_is_raw_resized_and_left_by_its_keys(host: RawHost) -> None:
    with container(host, Cmd=["sh"], Tty=True, OpenStdin=True) as identity:
        base = f"/containers/{identity}"
        query = {"stream": "1", "stdin": "1", "stdout": "1", "stderr": "1"}
        with host.hijack(f"{base}/attach", **query) as stream:
            assert "application/vnd.docker.raw-stream" in stream.head
            for size in ({}, {"h": "33"}, {"h": "", "w": "77"}, {"h": "33", "w": "-1"}):
                refused = host.api("POST", f"{base}/resize", **size)
                assert refused.status == 400 and refused.message.startswith(("h: ", "w: "))
            assert host.api("POST", f"{base}/resize", h="33", w="77").status == 200
            stream.send(b"stty size\n")
            assert b"33 77" in stream.until(b"33 77")
            stream.send(b"\x10\x11")
            stream.raw()
        assert host.ok_api("GET", f"{base}/json")["State"]["Running"] is True


def test_attach_before_start_misses_nothing(host: RawHost) -> None:
    """What `docker run` does: create, attach, wait for its removal, start."""
    with container(host, start=False, Cmd=["sh", "-c", "echo first; exit 4"]) as identity:
        base = f"/containers/{identity}"
        with host.hijack(f"{base}/attach", stream="1", stdout="1", stderr="1") as stream:
            stream.half_close()
            host.ok_api("POST", f"{base}/start")
            assert list(stream.frames()) == [(1, b"first\n")]
        assert host.ok_api("POST", f"{base}/wait") == {"StatusCode": 4}


def test_attach_may_begin_with_the_log(host: RawHost) -> None:
    with container(host, Cmd=["sh", "-c", "echo before; read x; echo $x"], OpenStdin=True) as i:
        until(lambda: b"before" in host.api("GET", f"/containers/{i}/logs", stdout="1").body)
        query = {"stream": "1", "stdin": "1", "stdout": "1", "logs": "1"}
        with host.hijack(f"/containers/{i}/attach", **query) as stream:
            stream.send(b"after\n")
            assert b"".join(d for _, d in stream.frames()) == b"before\nafter\n"


def test_wait_sends_its_head_before_the_end(host: RawHost) -> None:
    with container(host, start=False, HostConfig={"AutoRemove": True}) as identity:
        base = f"/containers/{identity}"
        with host.hijack(f"{base}/wait", condition="removed") as stream:
            assert stream.head.startswith("HTTP/1.1 200")
            host.ok_api("POST", f"{base}/start")
            host.ok_api("POST", f"{base}/kill")
            assert b'"StatusCode":137' in stream.until(b"}")
        assert host.api("GET", f"{base}/json").status == 404
        assert host.api("POST", f"{base}/wait").status == 404
        assert host.api("POST", f"{base}/wait", condition="never").status == 400


def test_logs_are_framed_cut_stamped_and_followed(host: RawHost) -> None:
    # One stream after the other: what order two pipes are read in is nobody's to say.
    lines = "for i in 1 2 3; do echo {}$i; done"
    script = f"({lines.format('err')}) >&2; read x; {lines.format('out')}; read x; echo end"
    with container(host, Cmd=["sh", "-c", script], OpenStdin=True) as identity:
        path = f"/containers/{identity}/logs"
        with host.hijack(f"/containers/{identity}/attach", stream="1", stdin="1") as stdin:
            until(lambda: b"err3" in host.api("GET", path, stderr="1").body)
            stdin.send(b"\n")
            until(lambda: b"out3" in host.api("GET", path, stdout="1").body)
            assert host.api("GET", path).status == 400
            only = host.api("GET", path, stderr="1", tail="4").body
            assert only == b"\x02\0\0\0\0\0\0\x05err3\n"
            stamped = host.api("GET", path, stdout="1", timestamps="1").body
            assert stamped[8:12].isdigit() and b"Z out1\n" in stamped
            later = str(int(time.time()) + 60)
            assert host.api("GET", path, stdout="1", since=later).body == b""
            # From the first line on: what is written before the log is read is no new line of it.
            follow = host.open_get(path, stdout="1", follow="1")
            stdin.send(b"\n")
            assert follow.read().endswith(b"\x01\0\0\0\0\0\0\x04end\n")
            follow.close()


def test_a_client_that_vanishes_ends_its_stream_only(host: RawHost) -> None:
    with container(host, Cmd=CAT, OpenStdin=True) as identity:
        base = f"/containers/{identity}"
        query = {"stream": "1", "stdin": "1", "stdout": "1"}
        with host.hijack(f"{base}/attach", **query) as stays:
            gone = host.hijack(f"{base}/attach", **query)
            follower = host.open_get(f"{base}/logs", stdout="1", follow="1")
            silent = host.hijack(f"{base}/attach", stream="1", stdout="1")
            silent.half_close()
            for each in (gone, follower, silent):
                each.close()
            stays.send(b"still\n")
            assert stays.until(b"still")
            until(lambda: host.open_connections() <= 1)


def test_a_client_that_does_not_read_holds_the_container_and_not_our_memory(
    host: RawHost,
) -> None:
    with container(host) as identity:
        before = host.gateway_memory_bytes()
        run = execute(host, identity, "sh", "-c", "yes | head -c 50000000")
        with host.hijack(f"/exec/{run}/start", {}) as stream:
            until(lambda: host.ok_api("GET", f"/exec/{run}/json")["Running"])
            assert _still(lambda: host.ok_api("GET", f"/exec/{run}/json")["Running"])
            assert host.gateway_memory_bytes() - before < 20 << 20
            assert sum(len(data) for _, data in stream.frames()) == 50_000_000


def _still(probe: Any) -> bool:
    end = time.monotonic() + 1
    held = True
    while held and time.monotonic() < end:
        held = bool(probe())
        time.sleep(0.1)
    return held


async def test_a_websocket_is_attached_to(host: RawHost) -> None:
    with container(host, Cmd=CAT, OpenStdin=True) as identity:
        connector = aiohttp.UnixConnector(str(host.socket_path))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"http://d/containers/{identity}/attach/ws?stream=1&stdin=1&stdout=1"
            async with session.ws_connect(url) as socket, asyncio.timeout(WAIT_S):
                await socket.send_bytes(b"hello\n")
                message = await socket.receive()
                assert message.data == b"hello\n"


def test_a_client_that_half_closes_after_its_request_is_answered(host: RawHost) -> None:
    with container(host) as identity:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(WAIT_S)
        connection.connect(str(host.socket_path))
        connection.sendall(
            f"POST /containers/{identity}/restart HTTP/1.1\r\nHost: d\r\n\r\n".encode()
        )
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).startswith(b"HTTP/1.1 204")
        while connection.recv(65536):
            pass
        connection.close()


def test_a_hundred_streams_at_once(host: RawHost) -> None:
    with container(host, Cmd=CAT, OpenStdin=True) as identity:
        query = {"stream": "1", "stdin": "1", "stdout": "1"}
        streams = [host.hijack(f"/containers/{identity}/attach", **query) for _ in range(100)]
        try:
            streams[50].send(b"to all\n")
            for stream in streams:
                assert stream.until(b"to all\n")
            assert host.gateway_memory_bytes() < 100 << 20
        finally:
            for stream in streams:
                stream.close()
        until(lambda: host.open_connections() == 0)


def test_five_hundred_idle_connections_hold_nobody_up(host: RawHost) -> None:
    idle = []
    try:
        for _ in range(500):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(host.socket_path))
            idle.append(connection)
        assert host.ok_api("GET", "/version")["ApiVersion"]
    finally:
        for connection in idle:
            connection.close()
    until(lambda: host.open_connections() == 0)


@pytest.mark.parametrize("version", ["1.24", "1.41", "1.42"])
def test_the_content_type_of_a_stream_is_the_version_s(host: RawHost, version: str) -> None:
    with container(host) as identity:
        found = host.api(
            "GET", f"/containers/{identity}/logs", version=version, stdout="1"
        ).headers["Content-Type"]
        wanted = "multiplexed" if version == "1.42" else "raw"
        assert found == f"application/vnd.docker.{wanted}-stream"


def test_an_exec_is_framed_unless_its_start_says_that_it_has_a_terminal(host: RawHost) -> None:
    with container(host) as identity:
        for tty in (True, False):
            run = execute(host, identity, "echo", "x", Tty=True)
            with host.hijack(f"/exec/{run}/start", {"Tty": tty}) as stream:
                said = stream.raw()
            assert said == b"x\r\n" if tty else said == b"\x01\0\0\0\0\0\0\x03x\r\n"


def test_a_line_of_a_log_is_a_frame(host: RawHost) -> None:
    with container(host, Cmd=["sh", "-c", "printf 'a\\nb\\n\\nlast'"]) as identity:
        host.ok_api("POST", f"/containers/{identity}/wait")
        with host.hijack(f"/containers/{identity}/attach", logs="1", stdout="1") as attached:
            assert b"".join(data for _, data in attached.frames()) == b"a\nb\n\nlast"
        said = host.api("GET", f"/containers/{identity}/logs", stdout="1").body
        one = b"\x01\0\0\0\0\0\0"
        assert said == one + b"\x02a\n" + one + b"\x02b\n" + one + b"\x01\n" + one + b"\x04last"


def test_what_was_killed_has_ended_when_it_is_answered(host: RawHost) -> None:
    with container(host) as identity:
        host.ok_api("POST", f"/containers/{identity}/kill", signal="SIGKILL")
        state = host.ok_api("GET", f"/containers/{identity}/json")["State"]
        assert (state["Running"], state["ExitCode"]) == (False, 137)


def test_wait_hears_an_end_that_a_restart_policy_follows(host: RawHost) -> None:
    policy = {"RestartPolicy": {"Name": "always"}}
    script = "sleep 0.3; exit 5"
    with container(host, Cmd=["sh", "-c", script], HostConfig=policy) as identity:
        assert host.ok_api("POST", f"/containers/{identity}/wait")["StatusCode"] == 5


def test_a_client_that_asks_for_no_upgrade_gives_input_all_the_same(host: RawHost) -> None:
    """As clients of long ago do: the connection is the stream's without a word of it."""
    with container(host, start=False, Cmd=["cat"], OpenStdin=True, StdinOnce=True) as identity:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(WAIT_S)
        connection.connect(str(host.socket_path))
        with connection:
            connection.sendall(
                f"POST /v1.24/containers/{identity}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\n"
                "Host: d\r\nContent-Type: text/plain\r\n\r\nearly ".encode()
            )
            found = connection.recv(65536)
            assert found.startswith(b"HTTP/1.1 200 OK\r\n")
            host.ok_api("POST", f"/containers/{identity}/start")
            connection.sendall(b"late\n")
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                found += data
        frames = found.partition(b"\r\n\r\n")[2]
        assert frames.replace(b"early ", b"").endswith(b"late\n") and b"early " in frames


def test_an_exec_goes_on_once_its_client_has_left_by_the_keys(host: RawHost) -> None:
    with container(host) as identity:
        run = execute(
            host, identity, "sh", "-c", "echo here; cat; sleep 600", AttachStdin=True, Tty=True
        )
        with host.hijack(f"/exec/{run}/start", {"Tty": True}) as stream:
            stream.until(b"here")
            stream.send(b"typed\x10\x11")
            stream.raw()
        shown = host.ok_api("GET", f"/exec/{run}/json")
        assert shown["Running"] is True
        top = host.ok_api("GET", f"/containers/{identity}/top")
        assert any("cat" in " ".join(row) for row in top["Processes"])


def test_what_is_written_after_the_head_of_a_followed_log_is_in_it(host: RawHost) -> None:
    """Also with tail=0, where a head that comes before the end was found would lose a line."""
    with container(host, Cmd=["cat"], OpenStdin=True) as identity:
        base = f"/containers/{identity}"
        with host.hijack(f"{base}/attach", stream="1", stdin="1", stdout="1") as stream:
            for number in range(20):
                said = f"line {number}\n".encode()
                log = host.open_get(f"{base}/logs", follow="1", stdout="1", tail="0")
                stream.send(said)
                assert log.answer.read(8 + len(said))[8:] == said
                log.close()


def test_an_attached_stream_outlives_the_engine(host: RawHost) -> None:
    with (
        container(host, Cmd=["cat"], OpenStdin=True) as identity,
        host.hijack(f"/containers/{identity}/attach", stream="1", stdin="1", stdout="1") as stream,
    ):
        stream.send(b"before\n")
        assert b"before\n" in stream.until(b"before\n")
        host.replace_agent()
        stream.send(b"after\n")
        assert b"after\n" in stream.until(b"after\n")


def test_who_is_attached_before_a_start_that_never_comes_is_told(host: RawHost) -> None:
    made = host.ok_api("POST", "/containers/create", {"Image": host.image, "Cmd": ["true"]})["Id"]
    with host.hijack(f"/containers/{made}/attach", stream="1", stdout="1", stderr="1") as stream:
        host.ok_api("DELETE", f"/containers/{made}")
        assert b"was removed" in b"".join(data for _, data in stream.frames())


def test_who_hangs_up_before_the_start_leaves_a_container_that_starts(host: RawHost) -> None:
    made = host.ok_api("POST", "/containers/create", {"Image": host.image, "Cmd": ["true"]})["Id"]
    open_before = host.open_connections()
    with host.hijack(f"/containers/{made}/attach", stream="1", stdin="1", stdout="1"):
        pass
    until(lambda: host.open_connections() <= open_before)
    host.ok_api("POST", f"/containers/{made}/start")
    assert host.ok_api("POST", f"/containers/{made}/wait")["StatusCode"] == 0
    host.ok_api("DELETE", f"/containers/{made}")


def test_what_an_exec_writes_is_dropped_once_its_client_has_gone(host: RawHost) -> None:
    """It neither waits for somebody to read nor dies of it, and comes to its end."""
    with container(host) as identity:
        script = "echo here; read x; yes | head -c 5000000; exit 7"
        run = execute(host, identity, "sh", "-c", script, AttachStdin=True)
        with host.hijack(f"/exec/{run}/start", {}) as stream:
            stream.until(b"here")
        shown = until(
            lambda: (s := host.ok_api("GET", f"/exec/{run}/json")) and not s["Running"] and s
        )
        assert shown["ExitCode"] == 7


def test_no_descriptors_of_execs_are_left(host: RawHost) -> None:
    """Of clients that stay to the end, that vanish, and of commands that cannot be run."""
    with container(host) as identity:

        def go(*command: str, leave: bool = False) -> None:
            run = execute(host, identity, *command, AttachStdin=True)
            with host.hijack(f"/exec/{run}/start", {}) as stream:
                if not leave:
                    stream.half_close()
                    stream.raw()

        def held() -> list[int]:
            pids = (host._node.pid("agent"), host.gateway_pid, host._node.pid("supervisor"))
            return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids]

        go("cat")
        before = held()
        for _ in range(10):
            go("cat")
            go("cat", leave=True)
            go("/nothing/there")
        # A channel of gRPC or a parked child may come or go; thirty execs held ninety.
        until(lambda: all(now <= was + 8 for now, was in zip(held(), before, strict=True)))


def test_an_exec_s_terminal_has_the_size_that_its_start_says(host: RawHost) -> None:
    with container(host) as identity:
        config = {"Cmd": ["stty", "size"], "Tty": True, "AttachStdout": True}
        for version, heard in (("1.42", True), ("1.41", False)):
            made = host.api("POST", f"/containers/{identity}/exec", config, version=version).json
            body = {"Tty": True, "ConsoleSize": [17, 91]}
            path = f"/v{version}/exec/{made['Id']}/start"
            with host.hijack(path, body) as stream:
                assert (stream.raw().strip() == b"17 91") == heard
