"""POST /build on a host: Docker's command of both ages, docker-py, and requests of our own."""

from __future__ import annotations

import gc
import http.server
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import BuildError
from raw_host import RawHost, Unix
from test_docker_commands import programs

WAIT_S = 60.0


@pytest.fixture
def context(tmp_path: Path, host: RawHost) -> Path:
    made = tmp_path / "context"
    made.mkdir()
    (made / "Dockerfile").write_text(f"FROM {host.image}\nCOPY . /c\nRUN ls -A /c\n")
    (made / "file").write_text("content")
    (made / "ignored").write_text("x")
    return made


def packed(**files: str) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return found.getvalue()


def lines(host: RawHost, body: bytes, **query: Any) -> list[dict[str, Any]]:
    answer = host.api(
        "POST", "/build", body, headers={"Content-Type": "application/x-tar"}, **query
    )
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


@pytest.mark.parametrize("program", programs() or [None])
def test_docker_s_command_builds(
    host: RawHost, context: Path, tmp_path: Path, program: str | None
) -> None:
    if program is None:
        pytest.skip("no docker command (apt install docker.io, or docker-cli)")

    def build(*words: str, stdin: bytes = b"", status: int = 0) -> str:
        done = host.docker("build", *words, program=program, stdin=stdin, check=False)
        said = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == status, said + host.gateway_log()
        return said

    (context / ".dockerignore").write_text("ignored\nDockerfile\n.dockerignore\n")
    said = build("--no-cache", "-t", "built:1", "--label", "a=b", str(context))
    assert "Step 1/3 : FROM" in said and "Successfully tagged built:1" in said
    assert "\nfile\n" in said and "ignored" not in said and "\nDockerfile\n" not in said
    # Outside of the context: it is sent under a name of its own, which no image shows.
    outside = tmp_path / "Outside"
    outside.write_text(f"FROM {host.image}\nARG X\nCOPY . /c\nRUN echo got $X; ls -A /c\n")
    said = build("--no-cache", "--build-arg", "X=1", "-f", str(outside), str(context))
    assert "got 1" in said and ".dockerfile" not in said and "\nDockerfile\n" not in said
    said = build("-", stdin=f"FROM {host.image}\nRUN exit 3\n".encode(), status=3)
    assert "The command '/bin/sh -c exit 3' returned a non-zero code: 3" in said
    said = build("-", stdin=b"FORM x\n", status=1)
    assert "dockerfile parse error line 1: unknown instruction FORM, did you mean FROM?" in said
    assert "sha256:" in build("-q", str(context))
    assert host.docker("inspect", "-f", "{{.Config.Labels.a}}", "built:1").stdout == b"b\n"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_docker_py_builds(host: RawHost, context: Path) -> None:
    client = docker.DockerClient(base_url=f"unix://{host.socket_path}")
    try:
        image, log = client.images.build(path=str(context), tag="built:2", labels={"x": "y"})
        assert image.labels == {"x": "y"} and "built:2" in image.tags
        assert any("aux" in line for line in log)
        with pytest.raises(BuildError, match="returned a non-zero code: 1"):
            script = f"FROM {host.image}\nRUN exit 1\n".encode()
            client.images.build(fileobj=io.BytesIO(script))
    finally:
        client.close()
        gc.collect()  # it leaves the connection of a build that failed open


def test_what_is_wrong_before_the_first_step_has_a_status(host: RawHost) -> None:
    def refused(body: bytes, **query: Any) -> tuple[int, str]:
        answer = host.api("POST", "/build", body, **query)
        return answer.status, answer.message

    answer = host.api("POST", "/build?version=2", b"")
    status, said = answer.status, answer.message
    assert status == 400 and "DOCKER_BUILDKIT=0" in said
    status, said = refused(packed(other="FROM x\n"))
    assert status in (400, 404) and "Dockerfile" in said
    status, said = refused(packed(Dockerfile="FROM x\nRNU x\nCOPY\n"))
    assert status == 400 and said == (
        "dockerfile parse error line 2: unknown instruction RNU, did you mean RUN?\n"
        "dockerfile parse error line 3: COPY needs an argument"
    )
    status, said = refused(b"", remote="/etc")
    assert status == 400 and said.startswith("remote: '/etc': expected an address")
    status, said = refused(packed(Dockerfile="FROM x\n"), t="Upper")
    assert status == 400 and "Upper" in said
    assert refused(packed(Dockerfile="FROM scratch\nLABEL a=b\n"), platform="foo/bar")[0] == 400


def test_a_cache_is_used_seen_and_pruned(host: RawHost) -> None:
    body = packed(Dockerfile=f"FROM {host.image}\nENV A=cached\nRUN echo $A > /x\n")
    lines(host, body, t="cache:1")
    told = [line.get("stream") for line in lines(host, body)]
    assert told.count(" ---> Using cache\n") == 2
    told = [line.get("stream") for line in lines(host, body, cachefrom='["nothing"]')]
    assert " ---> Using cache\n" not in told
    pruned = host.ok_api("POST", "/build/prune", all="1")
    assert pruned["CachesDeleted"] and pruned["SpaceReclaimed"] >= 0


class Serving(http.server.BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def web() -> Iterator[Any]:
    class Handler(Serving):
        pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield Handler, f"http://127.0.0.1:{server.server_port}/context"
        server.shutdown()
        serving.join()


def test_a_context_behind_an_address_is_fetched(host: RawHost, web: Any) -> None:
    handler, address = web
    handler.body = packed(Dockerfile=f"FROM {host.image}\nCOPY f /\nRUN cat /f\n", f="from a tar")
    told = lines(host, b"", remote=address, dockerfile="Dockerfile")
    assert any("from a tar" in line.get("stream", "") for line in told)
    handler.body = f"FROM {host.image}\nRUN echo alone\n".encode()
    told = lines(host, b"", remote=address)
    assert any(line.get("stream") == "alone\n" for line in told)


def test_a_client_that_vanishes_ends_its_build(host: RawHost) -> None:
    body = packed(Dockerfile=f"FROM {host.image}\nRUN echo begun; sleep 98765\n")
    connection = Unix(host.socket_path)
    connection.request("POST", "/build", body=body)
    answer = connection.getresponse()
    while b'"begun' not in answer.readline():  # and not the step's own line
        pass
    assert sleeping()
    answer.close()
    connection.close()
    deadline = time.monotonic() + WAIT_S
    while sleeping():
        assert time.monotonic() < deadline, host.log()
        time.sleep(0.05)


def sleeping() -> bool:
    """Whether the RUN's process is there."""
    for entry in Path("/proc").iterdir():
        try:
            if b"98765" in (entry / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False
