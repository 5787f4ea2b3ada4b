"""Attaching to what runs: by its whole id without the engine, otherwise as the engine says."""

from __future__ import annotations

import asyncio
import json
import select
import signal
from pathlib import Path

import pytest
from raw_host import RawHost, Stream
from test_containers import container
from test_streams import execute, until

from swarmlite.gateway.streams.direct import Supervised
from swarmlite.paths import Paths
from swarmlite.proto.containers_pb2 import AttachInput
from swarmlite.runtime.supervisor import protocol

BOTH = {"stream": "1", "stdin": "1", "stdout": "1", "stderr": "1"}


def test_who_attaches_by_the_whole_id_does_not_wait_for_the_engine_which_tells_of_it(
    host: RawHost,
) -> None:
    with container(host, Cmd=["cat"], OpenStdin=True) as identity:
        told = host.open_get("/events", filters={"event": ["attach"], "container": [identity]})
        host.signal_agent(signal.SIGSTOP)
        try:
            with host.hijack(f"/containers/{identity}/attach", **BOTH) as stream:
                stream.send(b"a line\n")
                assert b"a line\n" in stream.until(b"a line\n")
        finally:
            host.signal_agent(signal.SIGCONT)
        event = json.loads(told.line())
        assert (event["Action"], event["Actor"]["ID"]) == ("attach", identity)
        told.close()


def test_a_stream_ends_with_its_container_and_not_with_its_output(host: RawHost) -> None:
    command = ["sh", "-c", "read x; exec >&- 2>&-; touch /closed; read y"]
    with (
        container(host, Cmd=command, OpenStdin=True) as identity,
        host.hijack(f"/containers/{identity}/attach", **BOTH) as stream,
        host.hijack(f"/containers/{identity}/attach", stream="1", stdin="1") as input_only,
    ):
        input_only.send(b"\n")
        closed = f"/containers/{identity}/archive"
        until(lambda: host.api("HEAD", closed, path="/closed").status == 200)
        assert select.select([stream.socket, input_only.socket], [], [], 0)[0] == []
        input_only.send(b"\n")
        assert (stream.read(), input_only.read()) == (b"", b"")
        assert not host.ok_api("GET", f"/containers/{identity}/json")["State"]["Running"]


@pytest.mark.parametrize("characters", [64, 12])  # of the id: the engine is asked for a shorter one
def test_a_stream_ends_with_its_container_though_that_runs_again_before_it_is_read(
    host: RawHost, characters: int
) -> None:
    with container(host) as identity:
        told = host.open_get("/events", filters={"event": ["attach"], "container": [identity]})
        path = f"/containers/{identity[:characters]}/attach"
        asked = host.asked(path, stream="1", stdout="1", stderr="1")
        told.line()
        told.close()
        host.ok_api("POST", f"/containers/{identity}/restart", t=0)
        with Stream(asked) as stream:  # which has none of it before its head is read
            assert stream.read() == b""
        assert host.ok_api("GET", f"/containers/{identity}/json")["State"]["Running"]


@pytest.mark.parametrize("characters", [64, 12])
def test_a_stream_has_the_first_run_only_of_what_its_policy_starts_again(
    host: RawHost, characters: int
) -> None:
    """As with Docker, by `restart` and by policy."""
    command = ["sh", "-c", "echo a run; exit 5"]
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 1}}
    with container(host, start=False, Cmd=command, HostConfig=policy) as identity:
        path = f"/containers/{identity}"
        with host.hijack(f"/containers/{identity[:characters]}/attach", **BOTH) as stream:
            host.ok_api("POST", f"{path}/start")
            assert list(stream.frames()) == [(1, b"a run\n")]

        def over() -> bool:
            shown = host.ok_api("GET", f"{path}/json")
            return shown["RestartCount"] == 1 and shown["State"]["Status"] == "exited"

        until(over)
        assert host.api("GET", f"{path}/logs", stdout="1").body.count(b"a run\n") == 2


def test_a_terminal_whose_input_was_not_asked_for_takes_none(host: RawHost) -> None:
    """Its console would: whoever attaches to the output must not type at it."""
    command = ["sh", "-c", "echo begun; while ! [ -e /go ]; do sleep 0.1; done; echo end"]
    with (
        container(host, Cmd=command, Tty=True) as identity,
        host.hijack(f"/containers/{identity}/attach", **BOTH) as stream,
    ):
        stream.send(b"typed\n")
        with host.hijack(f"/exec/{execute(host, identity, 'touch', '/go')}/start", {}) as ran:
            ran.raw()
        assert b"typed" not in stream.raw()


def test_what_is_paused_or_called_by_another_name_is_the_engine_s(host: RawHost) -> None:
    with container(host, Cmd=["cat"], OpenStdin=True) as identity:
        with host.hijack(f"/containers/{identity[:12]}/attach", **BOTH) as stream:
            stream.send(b"short\n")
            assert b"short\n" in stream.until(b"short\n")
        host.ok_api("POST", f"/containers/{identity}/pause")
        answer = host.api("POST", f"/containers/{identity}/attach", **BOTH)
        host.ok_api("POST", f"/containers/{identity}/unpause")
        assert answer.status == 409
        assert answer.message == "You cannot attach to a paused container, unpause it first"
        assert host.api("POST", f"/containers/{'0' * 64}/attach", **BOTH).status == 404


async def test_an_older_supervisor_leaves_it_to_the_engine_and_no_descriptors_stay(
    tmp_path: Path,
) -> None:
    """It knows no such call, and must not have given the one input away before that shows."""
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder = protocol.Decoder()
        while data := await reader.read(65536):
            for message in decoder.feed(data):
                asked.append(message["op"])
                error = {"kind": "InvalidSpec", "message": "the supervisor knows no such thing"}
                writer.write(protocol.encode({"id": message["id"], "error": error}))
        writer.close()
        await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    paths = Paths(tmp_path, tmp_path)
    start = AttachInput.Start(ref="0" * 64, stdin=True, stdout=True, stderr=True, stream=True)
    async with await asyncio.start_unix_server(serve, paths.supervisor_socket):
        supervised = Supervised(paths)
        assert await supervised.attach(start) is None
        held = _descriptors()
        assert await supervised.attach(start) is None
        assert _descriptors() == held
        assert asked == ["attach_running"] * 2
        await supervised.close()
        await ended.wait()
    assert await supervised.attach(start) is None  # nobody listens any more


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
