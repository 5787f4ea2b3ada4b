"""One host of a test cluster: a machine of namespaces that runs a swarmlited."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swarmlite.paths import Paths

from .namespaces import Lan, Machine, pids_inside

COMMAND_TIMEOUT_S = 60.0
DAEMON_TIMEOUT_S = 180.0


class CommandFailed(AssertionError):
    """A command on a host did not end with 0; the message has its output."""


class Host:
    """A host: `run` a command on it, `cli` for swarmlite's, `kill` and `restart` it."""

    def __init__(
        self,
        name: str,
        lan: Lan,
        root: Path,
        cgroup_parent: str,
        *,
        daemon_options: Sequence[str] = (),
        outlive: bool = False,
        addr: str = "",
        boots: int = 0,
    ) -> None:
        """Prepare the folders; `boot` starts it. `addr` and `boots` are of a host that was."""
        self.name = name
        self.lan = lan
        self.addr = addr or lan.address()
        self.paths = Paths(root / name / "state", root / name / "run")
        self.cgroup_parent = f"{cgroup_parent}/{name}"
        self.machine: Machine | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self.daemon_options = list(daemon_options)
        self._outlive = outlive
        self.boots = boots

    @property
    def environment(self) -> dict[str, str]:
        """What a shell needs to speak to this host's daemon."""
        return {
            "SWARMLITE_STATE_DIR": str(self.paths.state_dir),
            "SWARMLITE_RUN_DIR": str(self.paths.run_dir),
            # A registry of the tests listens beside the hosts, without TLS.
            "SWARMLITE_INSECURE_REGISTRIES": str(self.lan.subnet),
        }

    @property
    def pid(self) -> int:
        """The first process, as the machine sees it. Raises RuntimeError when the power is off."""
        if self.machine is None:
            raise RuntimeError(f"host {self.name} is off")
        return self.machine.pid

    @property
    def on(self) -> bool:
        """Whether the power is on."""
        return self.machine is not None

    def containers(self) -> list[str]:
        """The containers of this host that run, by their bundles; none while it is off."""
        return [p.parent.name for p in self.bundles().glob("*/config.json")] if self.on else []

    def bundles(self) -> Path:
        """Where the bundles are: on a tmpfs of the host's, as this machine sees it."""
        return Path(f"/proc/{self.pid}/root{self.paths.bundles_dir}")

    # power
    def boot(self, *, wait: bool = True) -> None:
        """Power on: namespaces, link, daemon. Returns when the daemon answers, if `wait`."""
        for folder in (self.paths.state_dir, self.paths.run_dir):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The run directory does not survive a boot, as on a real machine.
        subprocess.run(["find", str(self.paths.run_dir), "-mindepth", "1", "-delete"], check=True)
        self.boots += 1
        self.machine = Machine(self.name, outlive=self._outlive)
        self.lan.plug(self.machine, f"p{self.boots}-{self.name}"[:15], self.addr)
        self.start_daemon(wait=wait)

    def kill(self) -> None:
        """Cut the power."""
        if self.machine is not None:
            self.machine.kill()
            self.machine = None
            self._reap_daemon()

    def restart(self) -> None:
        """Power off, if it is on, and on again with the same disk."""
        self.kill()
        self.boot()

    # the daemon
    def start_daemon(self, *, wait: bool = True) -> None:
        """Start swarmlited, and wait until it answers unless not `wait`. Raises CommandFailed."""
        with self._daemon_log.open("ab") as output:
            self._daemon = subprocess.Popen(
                self._enter(
                    [
                        sys.executable,
                        "-m",
                        "swarmlite.node.daemon",
                        "--cgroup-parent",
                        self.cgroup_parent,
                        *self.daemon_options,
                    ]
                ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | self.environment,
                start_new_session=True,
            )
        if wait:
            self.wait_daemon()

    @property
    def _daemon_log(self) -> Path:
        return self.paths.state_dir / "swarmlited.log"

    def wait_daemon(self) -> None:
        """Until swarmlited and the agent answer. Raises CommandFailed with the daemon's output."""
        deadline = time.monotonic() + DAEMON_TIMEOUT_S
        assert self._daemon is not None
        while not (self.paths.daemon_socket.exists() and self.paths.agent_socket.exists()):
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                said = self._daemon_log.read_text()[-4000:]
                raise CommandFailed(f"swarmlited of {self.name} did not start:\n{said}")
            time.sleep(0.02)

    def stop_daemon(self) -> None:
        """SIGTERM to swarmlited: containers run on."""
        self._signal_daemon(signal.SIGTERM)

    def kill_daemon(self) -> None:
        """SIGKILL to swarmlited: containers run on."""
        self._signal_daemon(signal.SIGKILL)

    def _signal_daemon(self, number: signal.Signals) -> None:
        # nsenter forks to enter the pid namespace: the daemon is its child.
        pid = self.status()["pid"] if self.paths.daemon_socket.exists() else None
        if pid:
            self.run("kill", f"-{number.value}", str(pid))
        self._reap_daemon()

    def _reap_daemon(self) -> None:
        if self._daemon is not None:
            # nsenter stops itself with its child, the daemon, and is not continued with it.
            self._daemon.send_signal(signal.SIGCONT)
            try:
                self._daemon.wait(DAEMON_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
            self._daemon = None

    def status(self) -> dict[str, Any]:
        """What swarmlited says of itself and its children."""
        import socket

        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DAEMON_TIMEOUT_S)
            client.connect(str(self.paths.daemon_socket))
            client.sendall(b'{"op": "status"}\n')
            with client.makefile() as lines:
                for line in lines:
                    answer = json.loads(line)
                    if "ok" in answer:
                        return dict(answer["ok"])
                    if "error" in answer:
                        raise CommandFailed(answer["error"])
        raise CommandFailed(f"swarmlited of {self.name} closed the connection")

    # processes
    def node_pid(self, name: str) -> int:
        """The machine's pid of swarmlited ("daemon"), agent, manager, etcd or supervisor.

        Found by their command lines, so that a node that does not answer is found too.
        Raises CommandFailed when it does not run.
        """
        mark = {
            "daemon": "swarmlite.node.daemon",
            "agent": "swarmlite.agent",
            "manager": "swarmlite.manager",
            "etcd": "etcd",
            "supervisor": str(self.paths.supervisor_socket),
        }[name]
        if self.machine is None:
            raise RuntimeError(f"host {self.name} is off")
        found = [
            pid
            for pid in pids_inside(self.pid)
            if (words := _command_line(pid))
            and (mark == words[0] or mark in words[1:])
            and words[0] != "nsenter"
        ]
        if not found:
            raise CommandFailed(f"{name} of {self.name} does not run")
        return outermost(found)

    def signal_process(self, name: str, number: signal.Signals) -> int:
        """Signal one of the node's processes, as `node_pid` names them; its pid."""
        pid = self.node_pid(name)
        os.kill(pid, number)
        return pid

    def freeze(self, name: str = "") -> None:
        """Stop one of the node's processes, or all that runs on the host, until `thaw`."""
        self._stop_or_go(name, signal.SIGSTOP)

    def thaw(self, name: str = "") -> None:
        """Undo `freeze`."""
        self._stop_or_go(name, signal.SIGCONT)

    def _stop_or_go(self, name: str, number: signal.Signals) -> None:
        for pid in [self.node_pid(name)] if name else pids_inside(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    # commands
    def _enter(self, command: Sequence[str]) -> list[str]:
        if self.machine is None:
            raise RuntimeError(f"host {self.name} is off")
        return self.machine.enter(command)

    def run(
        self,
        *command: str,
        check: bool = True,
        timeout_s: float = COMMAND_TIMEOUT_S,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host. Raises CommandFailed when `check` and it fails or hangs."""
        try:
            done = subprocess.run(
                self._enter(command),
                capture_output=True,
                text=True,
                timeout=timeout_s,
                env=os.environ | self.environment,
                input=input,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(
                f"{self.name}$ {shlex.join(command)}: no end after {timeout_s} s\n"
                f"{error.stdout!r}{error.stderr!r}"
            ) from error
        if check and done.returncode:
            raise CommandFailed(
                f"{self.name}$ {shlex.join(command)}: exit {done.returncode}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done

    def popen(self, *command: str) -> subprocess.Popen[str]:
        """Start a command on the host, its output piped; the caller ends it."""
        # nsenter forks to enter a pid namespace: who kills it is to end the command itself, which
        # would otherwise run on, and hold the pipe.
        return subprocess.Popen(
            self._enter(("setpriv", "--pdeathsig", "KILL", *command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | self.environment,
        )

    def cli(
        self, *args: str, timeout_s: float = COMMAND_TIMEOUT_S, input: str | None = None
    ) -> str:
        """`swarmlite ARGS...` on the host; its standard output. Raises CommandFailed."""
        return self.run(
            sys.executable, "-m", "swarmlite.cli", *args, timeout_s=timeout_s, input=input
        ).stdout

    def try_cli(
        self, *args: str, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """`swarmlite ARGS...` on the host, whatever its exit code."""
        return self.run(
            sys.executable, "-m", "swarmlite.cli", *args, timeout_s=timeout_s, check=False
        )

    def get(self, port: int, path: str = "/", timeout_s: float = 5.0) -> str:
        """The body that http://HOST:port/path answers the machine. Raises OSError."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{self.addr}:{port}{path}", timeout=timeout_s) as answer:
            return str(answer.read().decode())


def outermost(pids: Sequence[int]) -> int:
    """The first of `pids` that is no child of another one.

    A child that was forked and runs no other program has its parent's command line: so has the
    supervisor's forking process.
    """
    return next((pid for pid in pids if _parent(pid) not in pids), pids[0])


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return pid  # gone: nobody's parent, and nobody to be named


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
