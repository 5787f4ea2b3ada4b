"""Docker's clients in front of hosts of a cluster: their commands, and requests sent as bytes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from swarmlite.testing import Host

COMMANDS = {
    name: path
    for name, path in (("28", "/usr/local/bin/docker"), ("20.10", "/usr/bin/docker"))
    if (Path(path).exists() and Path(path).resolve() != Path("/usr/bin/docker").resolve())
    or (path == "/usr/bin/docker" and shutil.which(path))
}
"""Docker's command by its version, those that this machine has."""


@dataclass(frozen=True)
class Answer:
    """What a request was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """Of an error."""
        return str(self.json["message"])


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Api:
    """Docker's API of one host."""

    def __init__(self, host: Host) -> None:
        self.host, self.path = host, host.paths.docker_socket

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        filters: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request; `body` is sent as JSON, `filters` as a query."""
        if filters is not None:
            path += ("&" if "?" in path else "?") + "filters=" + quote(json.dumps(filters))
        connection = _UnixConnection(self.path)
        sent = dict(headers or {})
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Any:
        """The JSON that a GET answers, which must succeed."""
        answer = self("GET", path, **options)
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.json


class Docker:
    """Docker's command in front of one host."""

    def __init__(self, command: str, host: Host, home: Path) -> None:
        self._command, self._host, self._home = command, host, home

    def run(
        self, *args: str, input: str | None = None, timeout_s: float = 90, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """`docker ARGS...`, whatever its exit code."""
        return subprocess.run(
            [self._command, "-H", f"unix://{self._host.paths.docker_socket}", *args],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            input=input,
            env={**os.environ, "DOCKER_CONFIG": str(self._home), **environment},
        )

    def __call__(
        self, *args: str, input: str | None = None, timeout_s: float = 90, **environment: str
    ) -> str:
        """What `docker ARGS...` prints; it must end with 0."""
        done = self.run(*args, input=input, timeout_s=timeout_s, **environment)
        assert done.returncode == 0, f"docker {' '.join(args)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()


@contextmanager
def docker_home() -> Iterator[Path]:
    """A folder for the configuration of Docker's commands."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
