"""One host of a cluster in a Docker engine: a privileged container that runs a swarmlited."""

from __future__ import annotations

import shlex
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmlite.paths import DEFAULT_RUN_DIR, DEFAULT_STATE_DIR, Paths
from swarmlite.testing.host import COMMAND_TIMEOUT_S, DAEMON_TIMEOUT_S, CommandFailed

from .forward import RELAY, Forward
from .stream import STDERR, STDOUT, ExecStream

PYTHON = "/opt/swarmlite/bin/python"
TIMED_OUT = (124, 137, 143)  # of coreutils, by force, of busybox
LOAD_TIMEOUT_S = 300.0
GET = """
import sys, urllib.request
open_ = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
sys.stdout.write(open_(sys.argv[1], timeout=float(sys.argv[2])).read().decode())
"""


class ContainerHost:
    """A host: `run` a command on it, `cli` for swarmlite's, `kill` and `boot` it.

    Its words are those of `swarmlite.testing.Host`. `paths` leads to its sockets, from here;
    `inside` are its own folders.
    """

    inside = Paths(Path(DEFAULT_STATE_DIR), Path(DEFAULT_RUN_DIR))

    def __init__(self, name: str, addr: str, container: Any, folder: Path) -> None:
        """`container` is testcontainers', not started yet; `folder` is for the sockets."""
        self.name, self.addr, self.container = name, addr, container
        self.paths = Paths(folder / "state", folder)
        self._forwards: list[Forward] = []
        self._environment: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What a shell here needs to speak to this host's daemon."""
        return {
            "SWARMLITE_STATE_DIR": str(self.paths.state_dir),
            "SWARMLITE_RUN_DIR": str(self.paths.run_dir),
        }

    @property
    def _client(self) -> Any:
        return self.container.get_docker_client().client

    # power
    def boot(self, *, wait: bool = True) -> None:
        """Power on. Returns when the daemon answers, if `wait`. Raises CommandFailed."""
        if not self._forwards:
            self._forward()
        if self.container._container is None:
            self.container.start()
        else:
            self.container.get_wrapped_container().start()
        if wait:
            self.wait_daemon()

    def _forward(self) -> None:
        self.paths.run_dir.mkdir(parents=True, exist_ok=True)
        for socket in ("daemon_socket", "agent_socket", "manager_socket", "docker_socket"):
            there = str(getattr(self.inside, socket))
            self._forwards.append(self.forward(there, getattr(self.paths, socket)))

    def forward(self, target: str, path: Path | None = None) -> Forward:
        """A socket here that is PATH or HOST:PORT, seen from the host."""
        relay = (PYTHON, "-I", "-S", "-c", RELAY.read_text(), target)
        return Forward(lambda: self._exec(relay), path)

    def wait_daemon(self) -> None:
        """Until swarmlited and the agent answer. Raises CommandFailed with the daemon's output."""
        deadline = time.monotonic() + DAEMON_TIMEOUT_S
        there = (str(self.inside.daemon_socket), str(self.inside.agent_socket))
        # One command that looks often: to ask the engine as often costs more than to start.
        looks = f"test -S {there[0]} && test -S {there[1]} && exit 0; sleep 0.2"
        ready = f"for _ in $(seq 50); do {looks}; done; exit 1"
        while not self.on or self.run("sh", "-c", ready, check=False).returncode:
            if not self.on or time.monotonic() > deadline:
                said = self.log()[-4000:]
                raise CommandFailed(f"swarmlited of {self.name} did not start:\n{said}")
            time.sleep(0.1)

    @property
    def on(self) -> bool:
        """Whether the power is on."""
        if self.container._container is None:
            return False
        self.container.reload()
        return bool(self.container.status == "running")

    def kill(self) -> None:
        """Cut the power."""
        if self.on:
            self.container.get_wrapped_container().kill()
            self.container.wait()

    def restart(self) -> None:
        """Power off, if it is on, and on again with the same disk."""
        self.kill()
        self.boot()

    def remove(self) -> None:
        """Take it away, with its disk. Safe to repeat."""
        for forward in self._forwards:
            forward.close()
        self._forwards = []
        self.container.stop()

    def log(self) -> str:
        """What the daemon said."""
        return "".join(part.decode(errors="replace") for part in self.container.get_logs())

    # commands
    def _exec(self, command: tuple[str, ...], environment: Mapping[str, str] = {}) -> ExecStream:
        return ExecStream(self._client, self.container.get_container_id(), command, environment)

    def run(
        self,
        *command: str,
        check: bool = True,
        timeout_s: float = COMMAND_TIMEOUT_S,
        input: str | bytes | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host. Raises CommandFailed when `check` and it fails or hangs."""
        import docker.errors

        bounded = ("timeout", "-k", "1", f"{timeout_s:g}", *command)
        started = time.monotonic()
        try:
            done = _communicate(self._exec(bounded), input)
        except (docker.errors.APIError, OSError) as error:
            raise CommandFailed(f"{self.name}$ {shlex.join(command)}: {error}") from error
        late = done.returncode in TIMED_OUT and time.monotonic() - started >= timeout_s
        if late or (check and done.returncode):
            how = f"no end after {timeout_s:g} s" if late else f"exit {done.returncode}"
            raise CommandFailed(
                f"{self.name}$ {shlex.join(command)}: {how}\n{done.stdout}{done.stderr}"
            )
        return done

    def cli(
        self, *args: str, timeout_s: float = COMMAND_TIMEOUT_S, input: str | bytes | None = None
    ) -> str:
        """`swarmlite ARGS...` on the host; its standard output. Raises CommandFailed."""
        return self.run("swarmlite", *args, timeout_s=timeout_s, input=input).stdout

    def try_cli(
        self, *args: str, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """`swarmlite ARGS...` on the host, whatever its exit code."""
        return self.run("swarmlite", *args, timeout_s=timeout_s, check=False)

    def load(self, archive: bytes) -> None:
        """Put the images of an archive, as `docker save` writes it, on this host."""
        self.cli("image", "load", timeout_s=LOAD_TIMEOUT_S, input=archive)

    def get(self, port: int, path: str = "/", timeout_s: float = 5.0) -> str:
        """The body that http://HOST:port/path answers on the hosts' network. Raises OSError."""
        url = f"http://{self.addr}:{port}{path}"
        done = self.run(PYTHON, "-c", GET, url, str(timeout_s), check=False)
        if done.returncode:
            raise OSError(f"{url}: {(done.stderr.splitlines() or ['no answer'])[-1]}")
        return done.stdout

    def endpoint(self, port: int) -> str:
        """HOST:PORT that is a published port of this host, for clients on this machine.

        Of those that the cluster was told to publish.
        """
        return f"{self.container.get_container_host_ip()}:{self.container.get_exposed_port(port)}"

    def containers(self) -> list[str]:
        """The containers of this host that were not removed yet, by their bundles."""
        shown = f"ls -d {self.inside.bundles_dir}/*/config.json"
        found = self.run("sh", "-c", shown, check=False).stdout
        return [Path(line).parent.name for line in found.splitlines()]


def _communicate(stream: ExecStream, input: str | bytes | None) -> subprocess.CompletedProcess[str]:
    """Its input, then what it says and how it ends."""
    said: dict[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray()}
    data = input.encode() if isinstance(input, str) else input or b""
    sending = threading.Thread(target=_feed, args=(stream, data), daemon=True)
    try:
        sending.start()
        for kind, part in stream.frames():
            said.setdefault(kind, bytearray()).extend(part)
        out, errors = (said[kind].decode(errors="replace") for kind in (STDOUT, STDERR))
        return subprocess.CompletedProcess([], stream.exit_code, out, errors)
    finally:
        stream.close()


def _feed(stream: ExecStream, data: bytes) -> None:
    try:
        stream.send(data)
        stream.end_input()
    except OSError:
        pass  # a command that ends without reading all of it
