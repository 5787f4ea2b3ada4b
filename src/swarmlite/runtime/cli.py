"""swarmlite-runtime: the runtime as an OCI command line, as crun and runc have it.

A thin front of the same supervisor: each `--root` has one of its own, which is started when nobody
answers there and ends with its last container. Exit code 1 and one line on stderr (and in `--log`)
for every error; `run` and `exec` end with the program's exit code.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import time
import tty
from pathlib import Path
from typing import Any

from swarmlite import __version__, errors
from swarmlite.runtime.client import State, Supervisor

DEFAULT_ROOT = "/run/swarmlite-runtime"
START_TIMEOUT_S = 5.0
MAIN = Path(__file__).parent / "supervisor/__main__.py"
STDIO = (0, 1, 2)


def parser() -> argparse.ArgumentParser:
    """The options, in the words of runc."""
    top = argparse.ArgumentParser(prog="swarmlite-runtime", description="Run OCI bundles.")
    top.add_argument("--root", default=DEFAULT_ROOT, type=Path, help="where its state is")
    top.add_argument("--log", type=Path, help="write errors there, as JSON lines")
    top.add_argument("--log-format", choices=("text", "json"), default="text")
    top.add_argument("--version", action="version", version=f"swarmlite-runtime {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True)
    for verb in ("create", "run"):
        one = verbs.add_parser(verb)
        one.add_argument("--bundle", "-b", type=Path, default=Path())
        one.add_argument("--pid-file", type=Path)
        one.add_argument("--console-socket", type=Path)
        if verb == "run":
            one.add_argument("--detach", "-d", action="store_true")
        one.add_argument("id")
    for verb in ("start", "state"):
        verbs.add_parser(verb).add_argument("id")
    kill = verbs.add_parser("kill")
    kill.add_argument("--all", "-a", action="store_true")
    kill.add_argument("id")
    kill.add_argument("signal", nargs="?", default="TERM")
    delete = verbs.add_parser("delete")
    delete.add_argument("--force", "-f", action="store_true")
    delete.add_argument("id")
    execute = verbs.add_parser("exec")
    execute.add_argument("--process", "-p", type=Path, help="an OCI process, as JSON")
    execute.add_argument("--cwd", default="/")
    execute.add_argument("--env", "-e", action="append", default=[])
    execute.add_argument("--user", "-u", default="")
    execute.add_argument("--pid-file", type=Path)
    execute.add_argument("id")
    execute.add_argument("args", nargs=argparse.REMAINDER)
    verbs.add_parser("list").add_argument("--format", "-f", choices=("table", "json"))
    return top


def main() -> None:
    """The console script."""
    options = parser().parse_args()
    try:
        if os.geteuid() != 0:
            raise errors.PermissionDenied("must be run as root")
        code = asyncio.run(_run(options))
    except (errors.SwarmliteError, OSError) as error:
        _complain(options, str(error))
        code = 1
    sys.exit(code)


def _complain(options: argparse.Namespace, text: str) -> None:
    print(f"swarmlite-runtime: {text}", file=sys.stderr)
    if options.log:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with options.log.open("a") as file:
            file.write(json.dumps({"level": "error", "msg": text, "time": stamp}) + "\n")


async def _run(options: argparse.Namespace) -> int:
    supervisor = await _connect(options.root)
    try:
        return await VERBS[options.verb](supervisor, options)
    finally:
        if not await supervisor.list():
            await supervisor.shutdown()
        await supervisor.close()


async def _connect(root: Path) -> Supervisor:
    """The root's supervisor, started if there is none."""
    path = root / "supervisor.sock"
    try:
        return await Supervisor.connect(path)
    except errors.Unavailable:
        root.mkdir(0o700, parents=True, exist_ok=True)
    await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-I", "-S", str(MAIN), "--socket", str(path), "--state-dir",
         str(root / "state")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        await asyncio.sleep(0.005)
        try:
            return await Supervisor.connect(path)
        except errors.Unavailable:
            if time.monotonic() > deadline:
                raise


async def _create(supervisor: Supervisor, options: argparse.Namespace) -> int:
    state = await supervisor.create(options.id, options.bundle.resolve(), stdio=STDIO)
    if options.pid_file:
        options.pid_file.write_text(str(state.pid))
    if options.console_socket:
        master = await supervisor.console(options.id)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(options.console_socket))
            socket.send_fds(sock, [b"/dev/ptmx"], [master])
        os.close(master)
    return 0


async def _start(supervisor: Supervisor, options: argparse.Namespace) -> int:
    await supervisor.start(options.id)
    return 0


async def _state(supervisor: Supervisor, options: argparse.Namespace) -> int:
    print(json.dumps(_describe(await supervisor.state(options.id)), indent=2))
    return 0


def _describe(state: State) -> dict[str, Any]:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(state.created_at))
    shown: dict[str, Any] = {
        "ociVersion": "1.1.0",
        "id": state.id,
        "status": state.status,
        "pid": state.pid,
        "bundle": str(state.bundle),
        "created": stamp,
    }
    if state.exit_code is not None:
        shown["exitCode"] = state.exit_code
    return shown


async def _kill(supervisor: Supervisor, options: argparse.Namespace) -> int:
    await supervisor.kill(options.id, signal_number(options.signal), everything=options.all)
    return 0


def signal_number(text: str) -> int:
    """From `9`, `KILL` or `SIGKILL`; raises InvalidSpec."""
    if text.isdigit():
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    try:
        return signal.Signals[name].value
    except KeyError as error:
        raise errors.InvalidSpec(f"there is no signal {text}") from error


async def _delete(supervisor: Supervisor, options: argparse.Namespace) -> int:
    await supervisor.delete(options.id, force=options.force)
    return 0


async def _list(supervisor: Supervisor, options: argparse.Namespace) -> int:
    states = await supervisor.list()
    if options.format == "json":
        print(json.dumps([_describe(state) for state in states]))
        return 0
    row = "{:<25} {:<8} {:<8} {}"
    print(row.format("ID", "PID", "STATUS", "BUNDLE"))
    for state in states:
        print(row.format(state.id, state.pid, state.status, state.bundle))
    return 0


async def _run_container(supervisor: Supervisor, options: argparse.Namespace) -> int:
    await _create(supervisor, options)
    try:
        await supervisor.start(options.id)
    except errors.SwarmliteError:
        await supervisor.delete(options.id, force=True)
        raise
    if options.detach:
        return 0
    forward = _forward_signals(lambda number: supervisor.kill(options.id, number))
    copying = None
    spec = json.loads((options.bundle / "config.json").read_text())
    if spec["process"].get("terminal") and not options.console_socket:
        copying = _Terminal(await supervisor.console(options.id))
    try:
        state = await supervisor.wait(options.id)
    finally:
        forward()
        if copying is not None:
            copying.close()
    await supervisor.delete(options.id)
    return state.exit_code or 0


async def _exec(supervisor: Supervisor, options: argparse.Namespace) -> int:
    if options.process:
        process = json.loads(options.process.read_text())
    else:
        state = await supervisor.state(options.id)
        spec = json.loads((state.bundle / "config.json").read_text())
        process = {**spec["process"], "terminal": False, "args": options.args, "cwd": options.cwd}
        process["env"] = [*(process.get("env") or []), *options.env]
        if options.user:
            process["user"] = {"username": options.user}
    running = await supervisor.exec(options.id, process, stdin=0, stdout=1, stderr=2)
    if options.pid_file:
        options.pid_file.write_text(str(running.pid))
    forward = _forward_signals(running.kill)
    copying = _Terminal(running.console) if running.console is not None else None
    try:
        return await running.wait()
    finally:
        forward()
        if copying is not None:
            copying.close()


def _forward_signals(send: Any) -> Any:
    """Pass on what this process is sent; returns the function that ends it."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)
    tasks: set[asyncio.Task[None]] = set()

    def pass_on(number: int) -> None:
        task = loop.create_task(send(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    for number in numbers:
        loop.add_signal_handler(number, pass_on, number)

    def end() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    return end


class _Terminal:
    """Copies between our terminal, made raw, and a pty's master until closed."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.loop = asyncio.get_running_loop()
        self.before = None
        if sys.stdin.isatty():
            self.before = termios.tcgetattr(0)
            tty.setraw(0)
        os.set_blocking(master, False)
        self.loop.add_reader(master, self._copy, master, 1)
        self.loop.add_reader(0, self._copy, 0, master)

    def _copy(self, source: int, target: int) -> None:
        try:
            data = os.read(source, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            os.write(target, data)
        else:
            self.loop.remove_reader(source)

    def close(self) -> None:
        self._copy(self.master, 1)
        self.loop.remove_reader(self.master)
        self.loop.remove_reader(0)
        if self.before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self.before)
        os.close(self.master)


VERBS = {
    "create": _create,
    "start": _start,
    "state": _state,
    "kill": _kill,
    "delete": _delete,
    "list": _list,
    "run": _run_container,
    "exec": _exec,
}
