"""A container's own descriptors, handed over by the engine, joined to a client's connection.

What flows goes through this process only, and is no message on the way; see engine/io/handing.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from swarmlite import errors
from swarmlite.engine.io.descriptors import Owned, ready, write_all
from swarmlite.engine.io.pumps import ended, outputs
from swarmlite.gateway.streams.connection import Hijacked
from swarmlite.gateway.streams.frames import frame
from swarmlite.model.detach_keys import Detector
from swarmlite.proto.containers_pb2 import AttachInput
from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT, LogStream

ANSWER_BYTES = 16 * 1024
MAX_DESCRIPTORS = 4


class Handed:
    """One attachment; `close` ends it."""

    def __init__(self, engine: socket.socket, owned: Owned) -> None:
        """`engine` is the connection that it comes by."""
        self._engine, self._owned = engine, owned
        self.tty = False
        self.connected = asyncio.Event()
        self.streams: dict[int, LogStream.ValueType] = {}

    @classmethod
    async def ask(cls, path: Path, start: AttachInput.Start) -> Handed | None:
        """In place: nothing is missed from now on. None where no engine answers.

        Raises swarmlite's errors.
        """
        engine = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        engine.setblocking(False)
        made = cls(engine, Owned())
        try:
            await made._begin(path, start)
        except (FileNotFoundError, ConnectionError):
            made.close()
            return None
        except BaseException:
            made.close()
            raise
        return made

    async def _begin(self, path: Path, start: AttachInput.Start) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._engine, str(path))
        wanted: dict[str, Any] = {"ref": start.ref, "stdin": start.stdin}
        wanted |= {"stdout": start.stdout, "stderr": start.stderr}
        await loop.sock_sendall(self._engine, json.dumps(wanted).encode())
        answer, descriptors = await self._answer()
        self.tty = answer["tty"]
        for name, descriptor in zip(answer["streams"], descriptors, strict=True):
            self.streams[descriptor] = LOG_STDOUT if name == "stdout" else LOG_STDERR

    async def stdin(self) -> int | None:
        """Once the container's process is there: its input. Raises swarmlite's errors."""
        _, descriptors = await self._answer()
        self.connected.set()
        return descriptors[0] if descriptors else None

    async def _answer(self) -> tuple[dict[str, Any], list[int]]:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self._engine, ANSWER_BYTES, MAX_DESCRIPTORS
                )
                break
            except BlockingIOError:
                await ready(self._engine.fileno(), writing=False)
        self._owned.add(*descriptors)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if not data:
            raise ConnectionResetError("the engine has ended")
        answer = json.loads(data)
        if error := answer.get("error"):
            raise getattr(errors, error["kind"], errors.SwarmliteError)(error["message"])
        return answer, descriptors

    async def ended(self) -> None:
        """Once the container's process has ended, or the engine has."""
        with contextlib.suppress(errors.SwarmliteError, ConnectionError):
            while True:
                await self._answer()

    def end_input(self, descriptor: int) -> None:
        """Nothing more comes for the container."""
        self._owned.close(descriptor)

    def close(self) -> None:
        """The container goes on, its input ended if that is for one client only."""
        self._owned.__exit__()
        self._engine.close()


async def converse_handed(
    client: Hijacked, handed: Handed, *, detach_keys: bytes | None = None
) -> None:
    """Until the container's output ends or the keys that detach are typed. Raises ConnectionError.

    What fails before the container's process is there is told in the stream, since the status has
    been sent.
    """
    detector = Detector(detach_keys) if detach_keys else None
    feeding = asyncio.ensure_future(_feed(client, handed, detector))
    sending = asyncio.ensure_future(_send(client, handed))
    try:
        await asyncio.wait((feeding, sending), return_when=asyncio.FIRST_COMPLETED)
        if sending.done() or not feeding.result():
            await sending
    finally:
        await ended(feeding, sending)
        handed.close()


async def _send(client: Hijacked, handed: Handed) -> None:
    async with contextlib.aclosing(outputs(handed.streams)) as messages:
        async for output in messages:
            await client.write(frame(output.stream, output.data, tty=handed.tty))
    # Who attached for its input only, or closes its output, has not ended.
    await handed.connected.wait()
    await handed.ended()


async def _feed(client: Hijacked, handed: Handed, detector: Detector | None) -> bool:
    """Input on until its end; True where nothing more is to come out either."""
    try:
        descriptor = await handed.stdin()
    except (errors.SwarmliteError, ConnectionError) as error:
        await client.write(frame(LOG_STDOUT, f"{error}\r\n".encode(), tty=handed.tty))
        return True
    while data := await client.read():
        found = False
        if detector is not None:
            data, found = detector.feed(data)
        if descriptor is not None:
            try:
                await write_all(descriptor, data)
            except OSError:  # who reads no more is no error
                handed.end_input(descriptor)
                descriptor = None
        if found:
            return True
    if descriptor is not None:
        handed.end_input(descriptor)
    return False
