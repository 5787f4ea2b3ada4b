"""A host with a real supervisor and engine, and the command line run against it, also on a pty."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "agent"))

from agent_node import AgentNode

WAIT_S = 60.0
ARGV = (sys.executable, "-m", "swarmlite.cli")


@dataclass
class Result:
    status: int
    out: str
    err: str


class Host(threading.Thread):
    """One host outside of a swarm, on a thread of its own; `stop` leaves nothing behind."""

    def __init__(self, root: Path, images: Path, image: str) -> None:
        super().__init__(daemon=True)
        self.root, self.image = root, image
        self._node = AgentNode(root, images, image)
        self._ready, self._stopping = threading.Event(), threading.Event()
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._node.start(in_swarm=False)
            self._ready.set()
            await asyncio.to_thread(self._stopping.wait)
        finally:
            await self._node.close()

    def boot(self) -> None:
        self.start()
        try:
            assert self._ready.wait(WAIT_S), "the host is not up"
        except BaseException:  # or who ends the run: the thread would keep it from ending
            self.stop()
            raise
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._stopping.set()
        self.join(WAIT_S)
        assert not self.is_alive()

    def kill_agent(self) -> None:
        """SIGKILL to the agent, with the engine in it."""
        self._node.end("agent")

    def signal_agent(self, number: signal.Signals) -> None:
        """To the agent, with the engine in it."""
        self._node.send_signal("agent", number)

    def start_agent(self) -> None:
        """Another one in its place."""
        asyncio.run_coroutine_threadsafe(self._node.start_agent(), self._loop).result(WAIT_S)

    def replace_agent(self) -> None:
        """SIGKILL to the agent, with the engine in it, and another in its place."""
        self.kill_agent()
        self.start_agent()

    def log(self) -> str:
        return self._node.log("agent")

    @property
    def init(self) -> int:
        """The first process of its namespaces."""
        return self._node.init

    @property
    def environment(self) -> dict[str, str]:
        run, state = self._node.paths.run_dir, self._node.paths.state_dir
        return {**os.environ, "SWARMLITE_RUN_DIR": str(run), "SWARMLITE_STATE_DIR": str(state)}

    def cli(self, *args: str, stdin: bytes = b"") -> Result:
        """`swarmlite ARGS...` with pipes."""
        done = subprocess.run(
            [*ARGV, *args],
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=WAIT_S,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *args: str, stdin: bytes = b"") -> str:
        """What it prints; it must succeed."""
        result = self.cli(*args, stdin=stdin)
        assert result.status == 0, f"{args}: {result.err}\n{self.log()}"
        return result.out

    def open(self, *args: str, **options: Any) -> subprocess.Popen[bytes]:
        """`swarmlite ARGS...`, running."""
        return subprocess.Popen([*ARGV, *args], env=self.environment, **options)

    def terminal(self, *args: str, rows: int = 30, columns: int = 90) -> Terminal:
        """`swarmlite ARGS...` on a terminal of that size."""
        return Terminal([*ARGV, *args], self.environment, rows, columns)


class Terminal:
    """A process on a pseudo-terminal: what is typed, what is shown, how large it is."""

    def __init__(self, argv: list[str], env: dict[str, str], rows: int, columns: int) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(rows, columns)
        # By another program, since Python would fork for it, with what gRPC has under way here.
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *argv], stdin=theirs, stdout=theirs, stderr=theirs, env=env
        )
        os.close(theirs)
        self.shown = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(WAIT_S)
        os.close(self._ours)

    def resize(self, rows: int, columns: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def type(self, text: bytes) -> None:
        os.write(self._ours, text)

    def until(self, text: bytes) -> None:
        """Wait for `text` on the screen, from what was shown since the last wait."""
        self._wait(lambda: text in self.shown, text.decode())
        self.shown = self.shown.partition(text)[2]

    def ends(self) -> int:
        """Wait for the end; the status."""
        self._wait(lambda: self._process.poll() is not None, "the end")
        self._read(0)
        return self._process.wait(WAIT_S)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def _wait(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited for {what!r}, shown: {self.shown.decode()!r}")
            if not self._read(0.1) and self._process.poll() is not None and not holds():
                self._read(0)
                if holds():
                    return
                raise AssertionError(f"ended before {what!r}, shown: {self.shown.decode()!r}")

    def _read(self, timeout_s: float) -> bool:
        readable, _, _ = select.select([self._ours], [], [], timeout_s)
        if not readable:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # its last user has closed it
            time.sleep(0.05)
            return False
        self.shown += data
        return bool(data)
