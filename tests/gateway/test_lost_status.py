"""A build that is refused while its context is on its way: its reason arrives all the same."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from raw_host import WAIT_S, Unix

from swarmlite.build.context.sources import Source
from swarmlite.cli.build import building
from swarmlite.cli.build.agents import Agents
from swarmlite.cli.build.progress import shown_as
from swarmlite.cli.build.sending import requests
from swarmlite.cli.session import Session
from swarmlite.errors import InvalidSpec
from swarmlite.paths import Paths
from swarmlite.proto.build_pb2 import BuildEvent, BuildFailure, BuildOptions
from swarmlite.proto.build_pb2_grpc import BuildsServicer, add_BuildsServicer_to_server

WHY = "COPY a b: with several sources the destination must end with /"


class Losing(BuildsServicer):
    """Refuses, and then ends the call as grpcio was seen to end one whose client still sends."""

    asked: ClassVar[list[BuildOptions]] = []

    def Build(self, requests: Any, context: Any) -> Iterator[BuildEvent]:
        self.asked.append(next(requests).options)
        yield BuildEvent(failure=BuildFailure(code=3, text=WHY))
        context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 0")


@pytest.fixture
def paths() -> Iterator[Paths]:
    """Of a host whose builder is a server that loses the status."""
    with tempfile.TemporaryDirectory(prefix="swl-lost-") as folder:
        found = Paths(Path(folder) / "state", Path(folder) / "run")
        found.run_dir.mkdir()
        server = grpc.server(ThreadPoolExecutor(2))
        add_BuildsServicer_to_server(Losing(), server)
        server.add_insecure_port(f"unix:{found.agent_socket}")
        server.start()
        try:
            yield found
        finally:
            server.stop(0).wait(WAIT_S)


def test_dockers_clients_hear_why_a_build_is_refused(paths: Paths) -> None:
    words = [sys.executable, "-m", "swarmlite.gateway", "--idle=0", "--socket"]
    words += [str(paths.docker_socket), "--state-dir", str(paths.state_dir)]
    words += ["--run-dir", str(paths.run_dir)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as gateway:
        try:
            connection = Unix(paths.docker_socket)
            deadline = time.monotonic() + WAIT_S
            while True:
                try:
                    connection.connect()
                    break
                except OSError:  # it is not there, or does not listen yet
                    connection.close()
                    assert gateway.poll() is None and time.monotonic() < deadline
                    time.sleep(0.02)
            connection.request("POST", "/build", b"x", {"Content-Type": "application/x-tar"})
            answer = connection.getresponse()
            assert (answer.status, WHY in answer.read().decode()) == (400, True)
            assert Losing.asked.pop().takes_more
            connection.close()
        finally:
            gateway.terminate()


def test_the_command_hears_why_a_build_is_refused(paths: Paths) -> None:
    session = Session(paths)
    sent = requests(BuildOptions(), Source(iter([b"x"])), {}, Agents())
    with pytest.raises(InvalidSpec, match="must end with /"):
        building.build(session, sent, shown_as("quiet"))
    assert Losing.asked.pop().takes_more
