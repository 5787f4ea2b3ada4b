"""The page with 1,000 tasks on simulated agents: its first view, a change, and fifty open pages."""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import time
import urllib.parse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from swarmlite.proto.control_pb2 import CreateServiceRequest
from swarmlite.proto.specs_pb2 import ServiceSpec

from .docker_peer import pids_in
from .simulated_swarm import SimulatedSwarm
from .spending import cpu_s
from .table import Row, alone_row, median, spread_note

AGENTS, TASKS, PAGES, VIEWS, CHANGES = 100, 1000, 50, 20, 15
TIMEOUT_S = 120.0
QUIET_S = 30.0


def measure() -> list[Row]:
    """Its rows."""
    with SimulatedSwarm(AGENTS) as swarm:
        service = swarm.create("many", TASKS)
        swarm.until(lambda: swarm.running(service) == TASKS, TIMEOUT_S)
        page = Page(swarm)
        views = [page.view() for _ in range(VIEWS)]
        changes_ms = page.changes_ms()
        with page.open_pages():
            quiet, busy = page.share(0), page.share(1)
    views_ms = [seconds * 1000 for seconds, _, _ in views]
    what = f"the page with {TASKS:,} tasks"
    return [
        alone_row(f"{what}: first view, request to its last byte{spread_note(views_ms)}", "ms",
                  median(views_ms), at_most=300),
        alone_row(f"{what}: of it CPU of the page and the manager", "ms",
                  median([cpu * 1000 for _, cpu, _ in views])),
        alone_row(f"{what}: bytes of it", "kB", views[-1][2] / 1000, at_most=150),
        alone_row(f"{what}: a change until it is there{spread_note(changes_ms)}", "ms",
                  median(changes_ms), at_most=500),
        alone_row(f"{what}: {PAGES} open pages, nothing changes", "% of a core", quiet, at_most=5),
        alone_row(f"{what}: {PAGES} open pages, a change a second", "% of a core", busy),
    ]  # fmt: skip


class Page:
    """A browser's side of it, without a browser."""

    def __init__(self, swarm: SimulatedSwarm) -> None:
        """Enabled and signed in."""
        self._swarm = swarm
        manager = swarm.cluster.manager
        roots = manager.paths.certificates_dir / "ca.crt"
        self._tls = ssl.create_default_context(cafile=str(roots))
        self._address = manager.addr, 2376
        manager.cli("ui", "enable")
        link = urllib.parse.urlsplit(manager.cli("ui", "open").strip())
        self._cookie = ""
        headers, _ = self._get(f"{link.path}?{link.query}")
        found = next(line for line in headers.splitlines() if line.startswith("Set-Cookie: "))
        self._cookie = found.removeprefix("Set-Cookie: ").partition(";")[0]
        self._pids = [swarm.pid, self._pid()]

    def _pid(self) -> int:
        manager = self._swarm.cluster.manager
        inner = int(manager.status()["children"]["ui"]["pid"])
        for pid in pids_in(manager.pid, ("",)):
            if f"NSpid:\t{pid}\t{inner}\n" in Path(f"/proc/{pid}/status").read_text():
                return pid
        raise RuntimeError(f"no process {inner} on the host")

    def _asked(self, path: str, timeout_s: float = 60.0) -> ssl.SSLSocket:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                plain = socket.create_connection(self._address, timeout_s)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        connection = self._tls.wrap_socket(plain, server_hostname=self._address[0])
        lines = [f"GET {path} HTTP/1.1", f"Host: {self._address[0]}:2376", "Connection: close",
                 "Accept-Encoding: gzip", f"Cookie: {self._cookie}", "", ""]  # fmt: skip
        connection.sendall("\r\n".join(lines).encode())
        return connection

    def _get(self, path: str) -> tuple[str, int]:
        """Its headers, and the bytes of all."""
        with self._asked(path) as connection:
            data = b""
            while part := connection.recv(1 << 16):
                data += part
        return data.partition(b"\r\n\r\n")[0].decode(), len(data)

    def view(self) -> tuple[float, float, int]:
        """Seconds, seconds of CPU, and bytes."""
        before, began = cpu_s(self._pids), time.monotonic()
        headers, size = self._get("/ui/")
        seconds = time.monotonic() - began
        if " 200 " not in headers.splitlines()[0]:
            raise RuntimeError(headers)
        return seconds, cpu_s(self._pids) - before, size

    def changes_ms(self) -> list[float]:
        """From a service's creation to its name in an open page."""
        found = []
        with self._asked("/ui/live") as connection, connection.makefile("rb") as stream:
            _until(stream, "many")
            for number in range(CHANGES):
                time.sleep(1)
                name = f"change-{number}"
                began = time.monotonic()
                self._change(name)
                _until(stream, name)
                found.append((time.monotonic() - began) * 1000)
        return found

    def _change(self, name: str) -> None:
        spec = ServiceSpec()
        spec.annotations.name = name
        spec.task.container.image = "busybox:latest"
        spec.replicated.replicas = 0
        self._swarm.control.CreateService(CreateServiceRequest(spec=spec), timeout=60)

    @contextmanager
    def open_pages(self) -> Iterator[None]:
        """Fifty, read as they come."""
        self._selector = selectors.DefaultSelector()
        connections = [self._asked("/ui/live") for _ in range(PAGES)]
        for connection in connections:
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ)
        try:
            yield
        finally:
            for connection in connections:
                connection.close()
            self._selector.close()

    def share(self, changes_a_second: int) -> float:
        """Of a core that the page and the manager take, in percent."""
        self._read(3.0)
        before, began = cpu_s(self._pids), time.monotonic()
        second = 0
        while (now := time.monotonic() - began) < QUIET_S:
            if changes_a_second and now > second:
                second += 1
                self._change(f"busy-{second}")
            self._read(0.2)
        return 100 * (cpu_s(self._pids) - before) / (time.monotonic() - began)

    def _read(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                connection = key.fileobj
                assert isinstance(connection, ssl.SSLSocket)
                try:
                    while connection.recv(1 << 16):
                        pass
                except ssl.SSLWantReadError:
                    continue


def _until(stream: Iterable[bytes], word: str) -> None:
    for line in stream:
        if line.startswith(b"data: ") and word in json.loads(line.removeprefix(b"data: ")):
            return
    raise RuntimeError("the stream ended")
