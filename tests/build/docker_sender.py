"""What Docker's own command sends as a context: it is given a server that only takes it down."""

from __future__ import annotations

import http.server
import io
import os
import shutil
import socketserver
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WAIT_S = 60.0


def programs() -> list[str]:
    """Every docker command of this machine, each once."""
    found = {os.path.realpath(p): p for p in ("/usr/local/bin/docker", "/usr/bin/docker")}
    return [path for path in found.values() if shutil.which(path)]


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    sent: bytes = b""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"{}")

    def do_POST(self) -> None:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        self.server.sent = b"".join(parts)
        self._answer(b'{"stream":"Successfully built 0123456789ab\\n"}\n')

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        for name, value in (("Api-Version", "1.41"), ("Builder-Version", "1"), ("Ostype", "linux")):
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "client"

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def sender(folder: Path, program: str) -> Iterator[Any]:
    """`send(context)`: the names that `docker build` sends of a folder, folders without a slash."""
    path = folder / "docker.sock"
    with _Server(str(path), _Handler) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{path}",
            "DOCKER_BUILDKIT": "0",
            "DOCKER_CONFIG": str(folder),
        }

        def send(context: Path) -> set[str]:
            server.sent = b""
            done = subprocess.run(
                [program, "build", "-q", str(context)],
                env=environment,
                capture_output=True,
                timeout=WAIT_S,
                check=False,
            )
            assert server.sent, done.stderr
            with tarfile.open(fileobj=io.BytesIO(server.sent)) as tar:
                return {member.name.rstrip("/") for member in tar}

        try:
            yield send
        finally:
            server.shutdown()
            serving.join()
