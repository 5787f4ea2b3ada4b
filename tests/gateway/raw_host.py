"""A host with a real supervisor and engine, and the gateway's process in front of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from container_host import Host

WAIT_S = 60.0


class Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=WAIT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(str(self._path))


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        assert self.headers["Content-Type"] == "application/json", self.headers
        return str(self.json["message"])


class RawHost(Host):
    """One host outside of a swarm; `api` asks the gateway."""

    @property
    def socket_path(self) -> Path:
        return self._node.paths.docker_socket

    def boot(self) -> None:
        super().boot()
        self.start_gateway()

    def start_gateway(self, *options: str) -> None:
        with (self.root / "gateway.log").open("ab") as output:
            self._gateway = subprocess.Popen(
                [
                    *(sys.executable, "-m", "swarmlite.gateway", "--idle=0"),
                    *("--socket", str(self.socket_path), *options),
                ],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + WAIT_S
        while True:
            assert self._gateway.poll() is None and time.monotonic() < deadline, self.gateway_log()
            try:
                self.api("GET", "/_ping")
                return
            except OSError:
                time.sleep(0.02)

    def end_gateway(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._gateway.send_signal(number)
        self._gateway.wait(WAIT_S)

    def stop(self) -> None:
        self.end_gateway()
        super().stop()

    def gateway_log(self) -> str:
        return (self.root / "gateway.log").read_text()[-8000:]

    @property
    def gateway_pid(self) -> int:
        return self._gateway.pid

    # asking
    def api(
        self,
        method: str,
        path: str,
        body: Any = None,
        /,
        *,
        headers: dict[str, str] | None = None,
        version: str = "",
        **query: Any,
    ) -> Answer:
        """One request; a body that is not bytes is sent as JSON."""
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = Unix(self.socket_path)
        try:
            connection.request(method, target(path, version, query), body=body, headers=sent)
            found = connection.getresponse()
            return Answer(found.status, found.headers, found.read())
        finally:
            connection.close()

    def ok_api(self, method: str, path: str, body: Any = None, /, **query: Any) -> Any:
        """What it answers; it must be well."""
        answer = self.api(method, path, body, **query)
        assert answer.status < 400, f"{method} {path}: {answer.body!r}\n{self.gateway_log()}"
        return answer.json if answer.body.strip() else None

    def open_get(self, path: str, /, **query: Any) -> Follow:
        """A GET whose answer is read by the caller."""
        connection = Unix(self.socket_path)
        connection.request("GET", target(path, "", query))
        return Follow(connection, connection.getresponse())

    def open_connections(self) -> int:
        """Of the gateway with clients."""
        held = 0
        lines = Path("/proc/net/unix").read_text().splitlines()
        inodes = {
            line.split()[6]
            for line in lines
            if line.endswith(str(self.socket_path)) and line.split()[5] == "03"
        }
        for entry in Path(f"/proc/{self.gateway_pid}/fd").iterdir():
            try:
                held += entry.readlink().name.removeprefix("socket:[").rstrip("]") in inodes
            except OSError:
                continue
        return held

    def gateway_memory_bytes(self) -> int:
        status = Path(f"/proc/{self.gateway_pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def hijack(self, path: str, body: Any = None, /, **query: Any) -> Stream:
        """A POST whose connection is taken over."""
        return Stream(self.asked(path, body, **query))

    def asked(self, path: str, body: Any = None, /, **query: Any) -> socket.socket:
        """The same before any of the answer is read."""
        data = b"" if body is None else json.dumps(body).encode()
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(WAIT_S)
        connection.connect(str(self.socket_path))
        lines = [
            f"POST {target(path, '', query)} HTTP/1.1",
            "Host: docker",
            "Connection: Upgrade",
            "Upgrade: tcp",
            "Content-Type: application/json",
            f"Content-Length: {len(data)}",
        ]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + data)
        return connection

    def docker(
        self, *args: str, stdin: bytes = b"", program: str = "docker", check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Docker's command against the gateway."""
        done = subprocess.run(
            [program, *args],
            input=stdin,
            capture_output=True,
            env=self.docker_environment,
            timeout=WAIT_S,
            check=False,
        )
        if check:
            assert done.returncode == 0, (args, done.stdout, done.stderr, self.gateway_log())
        return done

    @property
    def docker_environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
        config = self.root / "docker-config"
        return {
            **kept,
            "DOCKER_HOST": f"unix://{self.socket_path}",
            "DOCKER_CONFIG": str(config),
            "DOCKER_BUILDKIT": "0",
        }


class Follow:
    """An answer that goes on."""

    def __init__(self, connection: Unix, answer: http.client.HTTPResponse) -> None:
        self._connection, self.answer = connection, answer

    def read(self) -> bytes:
        """All to the end."""
        return self.answer.read()

    def line(self) -> bytes:
        """The next one."""
        return self.answer.readline()

    def close(self) -> None:
        self.answer.close()
        self._connection.close()


class Stream:
    """A connection that was taken over; `head` is the answer's."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._rest = b""
        self.head = self._head()

    def _head(self) -> str:
        while b"\r\n\r\n" not in self._rest:
            data = self.socket.recv(65536)
            assert data, self._rest
            self._rest += data
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return head.decode()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def read(self) -> bytes:
        """What comes next; empty at the end."""
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        return self.socket.recv(65536)

    def raw(self) -> bytes:
        """All to the end."""
        found = bytearray()
        while data := self.read():
            found += data
        return bytes(found)

    def until(self, text: bytes) -> bytes:
        found = b""
        while text not in found:
            data = self.read()
            assert data, found
            found += data
        return found

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """(1 or 2, data) to the end."""
        data, at = self.raw(), 0
        while at < len(data):
            kind, length = struct.unpack_from(">BxxxI", data, at)
            yield kind, data[at + 8 : at + 8 + length]
            at += 8 + length

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def target(path: str, version: str, query: dict[str, Any]) -> str:
    prefix = f"/v{version}" if version else ""
    said = {
        key: json.dumps(value) if isinstance(value, dict) else value for key, value in query.items()
    }
    return f"{prefix}{path}" + (f"?{urlencode(said, doseq=True)}" if said else "")
