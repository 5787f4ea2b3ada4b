"""The supervisor's place: found by its socket, or started in a session of its own and left running.

It is not a child like the others: it holds the containers, outlives the daemon, and is looked for
again. Under systemd it is a unit of its own (`--supervisor external`), and only waited for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

from swarmlite.paths import Paths

log = logging.getLogger(__name__)

RETRY_S = 1.0
APPEAR_S = 10.0


def script() -> Path:
    """The supervisor's main file; run by path, with -I -S, so that it stays lean."""
    return Path(__file__).parent.parent / "runtime" / "supervisor" / "__main__.py"


def command(paths: Paths) -> list[str]:
    """The supervisor's command line, here and in its systemd unit."""
    return [
        *(sys.executable, "-I", "-S", str(script())),
        *("--socket", str(paths.supervisor_socket)),
        *("--state-dir", str(paths.state_dir / "supervisor")),
    ]


def peer_pid(path: Path) -> int | None:
    """The pid of whoever listens on the socket, or None."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return None
        size = struct.calcsize("3i")
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[0])


class SupervisorKeeper:
    """Sees to it that a supervisor answers, for as long as the daemon runs."""

    def __init__(self, paths: Paths, *, external: bool) -> None:
        self.pid: int | None = None
        self.restarts = 0
        self._paths = paths
        self._external = external
        self._started: list[subprocess.Popen[bytes]] = []

    async def run(self) -> None:
        """Until cancelled; the supervisor stays when this ends."""
        first = True
        while True:
            self.pid = peer_pid(self._paths.supervisor_socket)
            if self.pid is None and not self._external:
                if not first:
                    self.restarts += 1
                    log.error("the supervisor is gone: starting another")
                self._start()
                self.pid = await self._appeared()
            first = False
            if self.pid is not None:
                await _ended(self.pid)
            await asyncio.sleep(RETRY_S if first or self.pid is None else 0)

    def _start(self) -> None:
        self._started = [p for p in self._started if p.poll() is None]
        log_file = self._paths.logs_dir / "supervisor.log"
        with log_file.open("ab") as output:
            self._started.append(
                subprocess.Popen(
                    command(self._paths),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    cwd="/",
                )
            )

    async def _appeared(self) -> int | None:
        process = self._started[-1]
        for _ in range(int(APPEAR_S / 0.02)):
            pid = peer_pid(self._paths.supervisor_socket)
            if pid is not None or process.poll() is not None:
                return pid
            await asyncio.sleep(0.02)
        return None


async def _ended(pid: int) -> None:
    """Until the process ends; a supervisor that was found is nobody's child here."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
