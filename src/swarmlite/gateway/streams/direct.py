"""Attaching to what runs without the engine, for who names a container by its whole id.

The supervisor joins the descriptors; the engine hears of it behind that, for the events. What the
supervisor leaves alone (what it does not run, what is paused) is the engine's to answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket

from swarmlite.engine.io.descriptors import Owned, output_pipes
from swarmlite.errors import SwarmliteError, Unavailable
from swarmlite.paths import Paths
from swarmlite.proto.containers_pb2 import AttachInput
from swarmlite.proto.control_pb2 import LogStream
from swarmlite.runtime.client import Attached, Supervisor

_WHOLE_ID = re.compile("[0-9a-f]{64}")
TRIES = 2
"""A connection to the engine may be of one that has ended since."""


class Direct:
    """One attachment: as Handed, for a Conversation."""

    def __init__(
        self,
        supervisor: Supervisor,
        ref: str,
        owned: Owned,
        streams: dict[int, LogStream.ValueType],
        attached: Attached,
    ) -> None:
        """`owned` are its descriptors, `streams` those of them that are read from."""
        self._supervisor, self._ref, self._owned = supervisor, ref, owned
        loop = asyncio.get_running_loop()
        self.tty, self.streams = attached.tty, streams
        self._created_at = attached.created_at
        self.connected: asyncio.Future[int | None] = loop.create_future()
        self.connected.set_result(attached.stdin)
        self.over: asyncio.Future[None] = loop.create_future()
        self._ending: asyncio.Future[None] | None = None

    def ask_for_the_end(self) -> None:
        """Once all of the streams are at theirs: `over` says when the process has ended."""
        self._ending = asyncio.ensure_future(self._ended())

    async def _ended(self) -> None:
        with contextlib.suppress(SwarmliteError):
            await self._supervisor.wait(self._ref, self._created_at)
        if not self.over.done():
            self.over.set_result(None)

    def end_input(self, descriptor: int) -> None:
        """Nothing more comes for the container."""
        self._owned.close(descriptor)

    def close(self) -> None:
        """The container goes on, its input ended if that is for one client only."""
        if self._ending is not None:
            self._ending.cancel()
        self._owned.__exit__()


class Supervised:
    """The way to the supervisor, and that to the engine's ear; one for the life of the process."""

    def __init__(self, paths: Paths) -> None:
        """Nothing is connected yet."""
        self._paths = paths
        self._supervisor: Supervisor | None = None
        self._connecting = asyncio.Lock()
        self._engine: socket.socket | None = None

    async def attach(self, start: AttachInput.Start) -> Direct | None:
        """In place: nothing is missed from now on. None where the engine has to be asked."""
        if not _WHOLE_ID.fullmatch(start.ref):
            return None
        try:
            made = await _joined(await self._connected(), start)
        except Unavailable:
            self._supervisor = None
            return None
        except SwarmliteError:
            return None
        self._tell(start.ref)
        return made

    async def _connected(self) -> Supervisor:
        async with self._connecting:
            if self._supervisor is None:
                self._supervisor = await Supervisor.connect(self._paths.supervisor_socket)
            return self._supervisor

    def _tell(self, container_id: str) -> None:
        """Where no engine runs, nobody hears of events."""
        said = json.dumps({"attached": container_id}).encode()
        for _ in range(TRIES):
            try:
                self._ear().send(said)
                return
            except OSError:
                self._forget_the_ear()

    def _ear(self) -> socket.socket:
        if self._engine is None:
            self._engine = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._engine.setblocking(False)
            self._engine.connect(str(self._paths.attach_socket))
        return self._engine

    def _forget_the_ear(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    async def close(self) -> None:
        """End both."""
        self._forget_the_ear()
        if self._supervisor is not None:
            await self._supervisor.close()


async def _joined(supervisor: Supervisor, start: AttachInput.Start) -> Direct:
    owned = Owned()
    try:
        streams, theirs = output_pipes(owned, stdout=start.stdout, stderr=start.stderr)
        attached = await supervisor.attach(
            start.ref,
            stdout=theirs.get("stdout"),
            stderr=theirs.get("stderr"),
            stdin=start.stdin,
            running=True,
        )
    except BaseException:
        owned.__exit__()
        raise
    owned.close(*theirs.values())
    if attached.stdin is not None:
        owned.add(attached.stdin)
        os.set_blocking(attached.stdin, False)
    return Direct(supervisor, start.ref, owned, streams, attached)
