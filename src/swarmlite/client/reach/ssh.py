"""A node of another host by ssh, which runs `swarmlite system dial-stdio` there.

Each connection is a session of ssh(1), whose standard streams are the connection. Sessions of one
host share a connection of ssh's (ControlMaster), which goes 30 s after the last one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from swarmlite.client.reach.api import Reach
from swarmlite.client.reach.tunnel import entered
from swarmlite.errors import Unavailable

COMMAND = ("swarmlite", "system", "dial-stdio")
PERSIST_S = 30
LONGEST_PATH = 107 - 17 - 41
"""Of the folder of ssh's sockets: their names are 40 letters, and ssh adds 17 while it binds."""


@dataclass(frozen=True)
class SshHost:
    """Where ssh goes; an empty user and port 0 are ssh's own choice."""

    host: str
    user: str = ""
    port: int = 0

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{user}{host}" + (f":{self.port}" if self.port else "")


class Ssh(Reach):
    """The node of a host that ssh(1) reaches."""

    def __init__(self, host: SshHost) -> None:
        """Connects to nothing yet."""
        self._host = host

    def describe(self, service: str) -> str:
        """As it is written in a URL."""
        return str(self._host)

    def connect(self, service: str) -> socket.socket:
        """As Reach says."""
        ours, theirs = socket.socketpair()
        said = tempfile.TemporaryFile()  # noqa: SIM115  # the waiting thread closes it
        try:
            end = theirs.fileno()
            process = subprocess.Popen(self.command(), stdin=end, stdout=end, stderr=said)
        except FileNotFoundError as error:
            ours.close()
            said.close()
            raise Unavailable(f"{self._host}: there is no ssh on this host") from error
        finally:
            theirs.close()
        try:
            made = entered(ours, service, str(self._host))
        except Unavailable as error:
            raise self._explained(process, said, error) from error
        finally:
            threading.Thread(target=_reap, args=(process, said), daemon=True).start()
        return made

    def command(self) -> list[str]:
        """What is run."""
        host = self._host
        words = ["ssh", "-T", "-o", "ConnectTimeout=30", *_sharing()]
        if host.user:
            words += ["-l", host.user]
        if host.port:
            words += ["-p", str(host.port)]
        return [*words, "--", host.host, *COMMAND]

    def _explained(
        self, process: subprocess.Popen[bytes], said: IO[bytes], error: Unavailable
    ) -> Unavailable:
        """The error with what ssh, or the command there, wrote of it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5.0)
        said.seek(0)
        lines = [line.strip() for line in said.read().decode(errors="replace").splitlines()]
        words = " ".join(line for line in lines if line)[-600:]
        return Unavailable(f"{self._host}: {words}") if words else error


def _reap(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    process.wait()
    said.close()


def _sharing() -> list[str]:
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or "~/.swarmlite").expanduser()
    folder = folder / "swarmlite-ssh"
    if len(os.fsencode(folder)) > LONGEST_PATH:
        return []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return []
    path = str(folder).replace("%", "%%")
    options = ("ControlMaster=auto", f"ControlPath={path}/%C", f"ControlPersist={PERSIST_S}")
    return [word for option in options for word in ("-o", option)]
