"""The ssh agents that a build may ask: each of its connections is one of ours to their sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.proto.build_pb2 import SshData

if TYPE_CHECKING:
    import subprocess

DEFAULT = "default"
_CHUNK_BYTES = 64 * 1024
_KEYS_S = 30.0


class Agents:
    """Iterated, it gives what the agents say until `close`; nothing where there are none."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        """`texts` are of --ssh: default, or ID=SOCKET|KEY[,KEY...]. Raises InvalidSpec."""
        self._stack = contextlib.ExitStack()
        self._sockets: dict[str, str] = {}
        self._open: dict[int, socket.socket] = {}
        self._said: SimpleQueue[SshData | None] = SimpleQueue()
        try:
            for text in texts:
                identity, _, places = text.partition("=")
                self._sockets[identity or DEFAULT] = self._socket(identity, places)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Agents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def ids(self) -> list[str]:
        """Of those that there are."""
        return list(self._sockets)

    def __iter__(self) -> Iterator[SshData]:
        while self._sockets and (data := self._said.get()) is not None:
            yield data

    def received(self, data: SshData) -> None:
        """What a build says to an agent; its first word opens the connection."""
        if data.channel not in self._open and not data.close:
            self._connect(data)
        connection = self._open.get(data.channel)
        if connection is None:
            return
        with contextlib.suppress(OSError):
            connection.sendall(data.data)
            if data.close:
                connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End every connection, and the agents that were started."""
        self._said.put(None)
        for connection in list(self._open.values()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._stack.close()

    def _connect(self, data: SshData) -> None:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._sockets[data.id or DEFAULT])
        except (OSError, KeyError):
            connection.close()
            self._said.put(SshData(channel=data.channel, id=data.id, close=True))
            return
        self._open[data.channel] = connection
        threading.Thread(target=self._read, args=(data, connection), daemon=True).start()

    def _read(self, opened: SshData, connection: socket.socket) -> None:
        with connection:
            with contextlib.suppress(OSError):
                while answer := connection.recv(_CHUNK_BYTES):
                    self._said.put(SshData(channel=opened.channel, id=opened.id, data=answer))
            self._said.put(SshData(channel=opened.channel, id=opened.id, close=True))
            self._open.pop(opened.channel, None)

    def _socket(self, identity: str, places: str) -> str:
        found = [path for path in places.split(",") if path] or [
            os.environ.get("SSH_AUTH_SOCK", "")
        ]
        if not found[0]:
            raise InvalidSpec(f"--ssh {identity}: SSH_AUTH_SOCK names no agent; use ID=SOCKET|KEY")
        try:
            if stat.S_ISSOCK(Path(found[0]).stat().st_mode):
                return found[0]
        except OSError as error:
            raise InvalidSpec(f"--ssh {identity}: {found[0]}: {error.strerror}") from error
        return self._with_keys(identity, found)

    def _with_keys(self, identity: str, keys: list[str]) -> str:
        """An agent of our own that holds these keys."""
        import shutil  # here: most builds have no use for them
        import subprocess
        import tempfile

        if shutil.which("ssh-agent") is None:
            raise FailedPrecondition(
                f"--ssh {identity}: ssh-agent is not installed; give the socket of an agent"
            )
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="swarmlite-ssh-"))
        path = f"{folder}/agent"
        command = ["ssh-agent", "-D", "-a", path]
        agent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._stack.callback(_end, agent)
        assert agent.stdout is not None
        agent.stdout.readline()  # it listens by now
        environment = {**os.environ, "SSH_AUTH_SOCK": path, "SSH_ASKPASS_REQUIRE": "never"}
        done = subprocess.run(
            ["ssh-add", *keys],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_KEYS_S,
            check=False,
            start_new_session=True,
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["refused"]
            raise InvalidSpec(f"--ssh {identity}: {said[-1]}; keys with a passphrase need an agent")
        return path


def _end(agent: subprocess.Popen[bytes]) -> None:
    agent.terminate()
    agent.wait()
    if agent.stdout is not None:
        agent.stdout.close()
