"""`run`, `attach`, `exec` and `logs` as typed: the command line on a real pty, a real engine."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

from engine_host import EngineHost, until


class Typist:
    """A command on a terminal of its own."""

    def __init__(self, host: EngineHost, *words: str, rows: int = 24, columns: int = 80) -> None:
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self._process = subprocess.Popen(
            ["setsid", "--ctty", Path(sys.executable).with_name("swarmlite"), *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(host),
        )
        os.close(slave)
        os.set_blocking(self.master, False)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    async def until(self, text: bytes) -> None:
        async def found() -> bool:
            self._read()
            return text in self.seen

        try:
            await until(found)
        except AssertionError:
            raise AssertionError(self.seen) from None

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            self.seen += os.read(self.master, 65536)

    async def end(self) -> int:
        """Its exit code."""

        async def over() -> bool:
            self._read()
            return self._process.poll() is not None

        await until(over)
        self._read()
        os.close(self.master)
        return self._process.returncode


def environment(host: EngineHost) -> dict[str, str]:
    paths = host.node.paths
    return {
        **os.environ,
        "SWARMLITE_RUN_DIR": str(paths.run_dir),
        "SWARMLITE_STATE_DIR": str(paths.state_dir),
    }


async def swarmlite(host: EngineHost, *words: str, given: bytes = b"") -> Any:
    return await asyncio.to_thread(
        subprocess.run,
        [Path(sys.executable).with_name("swarmlite"), *words],
        input=given, capture_output=True, env=environment(host), check=False, timeout=60,
    )  # fmt: skip


async def test_run_on_a_terminal_resizes_detaches_and_is_attached_to_again(
    host: EngineHost,
) -> None:
    run = Typist(host, "run", "-it", "--name", "box", host.image, "sh", rows=40, columns=100)
    await run.until(b"# ")
    run.type(b"stty size; echo $TERM\r")
    await run.until(b"40 100\r\nxterm\r\n")
    run.resize(20, 60)
    run.type(b"while [ \"$(stty size)\" != '20 60' ]; do sleep 0.05; done; echo fol'lows'\r")
    await run.until(b"follows\r\n")
    run.type(b"\x10\x11")  # Ctrl-P Ctrl-Q
    assert await run.end() == 0
    again = Typist(host, "attach", "box")
    again.type(b"echo $((40 + 2))\r")
    await again.until(b"42\r\n")
    again.type(b"exit 7\r")
    assert await again.end() == 7


async def test_exec_on_a_terminal(host: EngineHost) -> None:
    container = await host.run("sleep 100")
    shell = Typist(host, "exec", "-it", container, "sh", rows=33, columns=77)
    await shell.until(b"# ")
    shell.type(b"stty size; echo $TERM\r")
    await shell.until(b"33 77\r\nxterm\r\n")
    shell.type(b"echo g''o; sleep 100\r")  # what is typed is shown at once, what is said is not
    await shell.until(b"go\r\n")
    shell.seen = b""
    shell.type(b"\x03")
    await shell.until(b"# ")  # the key also drops what was typed before it is read
    shell.type(b"exit 5\r")
    assert await shell.end() == 5


async def test_pipes_half_close_and_exit_codes(host: EngineHost) -> None:
    done = await swarmlite(
        host, "run", "-i", "--rm", host.image, "sh", "-c", "cat; echo bad >&2; exit 3",
        given=b"through\n",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (3, b"through\n", b"bad\n")
    for command, code in (("nosuch", 127), ("/etc", 126)):
        assert (await swarmlite(host, "run", "--rm", host.image, command)).returncode == code
    assert (await swarmlite(host, "run", "--nosuch", host.image)).returncode == 125
    container = await host.run("sleep 100")
    done = await swarmlite(
        host, "exec", "-i", container, "sh", "-c", "wc -c; exit 4", given=b"x" * 300_000
    )
    assert (done.returncode, done.stdout.strip()) == (4, b"300000")
    assert (await swarmlite(host, "exec", container, "nosuch")).returncode == 127


async def test_logs_in_order_by_tail_and_with_details(host: EngineHost) -> None:
    done = await swarmlite(
        host, "run", "--name", "talker", "--label", "app=web", "--log-opt", "labels=app",
        "--log-opt", "tag={{.Name}}", host.image,
        "sh", "-c", "echo one; head -c 20000 /dev/zero | tr '\\0' x; echo; echo three",
    )  # fmt: skip
    assert done.returncode == 0
    whole = b"one\n" + b"x" * 20000 + b"\nthree\n"
    assert (await swarmlite(host, "logs", "talker")).stdout == whole
    assert (await swarmlite(host, "logs", "-n", "2", "talker")).stdout == whole[4:]
    detailed = (await swarmlite(host, "logs", "--details", "-n", "1", "talker")).stdout
    assert detailed == b"app=web,tag=talker three\n"
    stamped = (await swarmlite(host, "logs", "-t", "talker")).stdout
    assert stamped.count(b"\n") == 3
