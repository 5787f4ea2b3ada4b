"""A container's or an exec's own descriptors, handed over by the engine; see engine/io/handing.py.

What flows between them and a client goes through this process only, and is no message on the way.
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
from swarmlite.engine.io.descriptors import Owned
from swarmlite.proto.containers_pb2 import AttachInput
from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT, LogStream

ANSWER_BYTES = 16 * 1024
MAX_DESCRIPTORS = 4
WHEN_IT_ENDS = b"?"


class Handed:
    """One attachment or exec; `close` ends it."""

    def __init__(self, engine: socket.socket, *, of_exec: bool = False) -> None:
        """`engine` is the connection that it comes by."""
        self._engine, self._owned, self._of_exec = engine, Owned(), of_exec
        self._loop = asyncio.get_running_loop()
        self._begun: asyncio.Future[tuple[dict[str, Any], list[int]]] = self._loop.create_future()
        self.connected: asyncio.Future[int | None] = self._loop.create_future()
        """Once the container's process is there: its input, if that was asked for and is open."""
        self.over: asyncio.Future[None] = self._loop.create_future()
        """After `ask_for_the_end`, once the process has ended, or the engine has."""
        self.tty = False
        self.detach_keys = ""
        """As an exec's creation names them."""
        self.streams: dict[int, LogStream.ValueType] = {}

    @classmethod
    async def ask(cls, path: Path, start: AttachInput.Start) -> Handed | None:
        """In place: nothing is missed from now on. None where no engine answers.

        Raises swarmlite's errors.
        """
        wanted: dict[str, Any] = {"ref": start.ref, "stdin": start.stdin}
        wanted |= {"stdout": start.stdout, "stderr": start.stderr}
        return await cls._made(path, wanted, of_exec=False)

    @classmethod
    async def run(
        cls, path: Path, exec_id: str, console: tuple[int, int] | None = None
    ) -> Handed | None:
        """An exec that was created, and runs now. None where no engine answers.

        `console` is its terminal's height and width, in place of what its creation said.

        Raises swarmlite's errors: NotFound, Conflict where it was started before, and others for
        what cannot be run.
        """
        wanted = {"exec": exec_id, **({"console": console} if console else {})}
        return await cls._made(path, wanted, of_exec=True)

    @classmethod
    async def _made(cls, path: Path, wanted: dict[str, Any], *, of_exec: bool) -> Handed | None:
        engine = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        engine.setblocking(False)
        made = cls(engine, of_exec=of_exec)
        try:
            await made._connect(path)
        except (FileNotFoundError, ConnectionError):
            made.close()
            return None
        except BaseException:
            made.close()
            raise
        try:
            await made._begin(wanted)
        except ConnectionError as error:
            made.close()
            if of_exec:  # it may run: asking once more would run it twice
                raise errors.Unavailable(f"the engine of this node has ended: {error}") from error
            return None
        except BaseException:
            made.close()
            raise
        return made

    async def _connect(self, path: Path) -> None:
        await self._loop.sock_connect(self._engine, str(path))

    async def _begin(self, wanted: dict[str, Any]) -> None:
        self._engine.send(json.dumps(wanted).encode())  # which an empty buffer takes whole
        self._loop.add_reader(self._engine.fileno(), self._heard)
        answer, descriptors = await self._begun
        self.tty = answer["tty"]
        self.detach_keys = answer.get("detach_keys", "")
        names: list[str] = answer["streams"]
        for name, descriptor in zip(names, descriptors[: len(names)], strict=True):
            self.streams[descriptor] = LOG_STDOUT if name == "stdout" else LOG_STDERR
        if self._of_exec:
            rest = descriptors[len(names) :]
            self.connected.set_result(rest[0] if rest else None)

    def _heard(self) -> None:
        """Of each thing that is to be said the next one."""
        try:
            answer, descriptors = self._answer()
        except BlockingIOError:
            return
        except (errors.SwarmliteError, OSError) as error:
            self._fail(error)
            return
        if not self._begun.done():
            self._begun.set_result((answer, descriptors))
        elif "exit_code" in answer:
            self._ended()
        elif not self.connected.done():
            self.connected.set_result(descriptors[0] if descriptors else None)

    def _answer(self) -> tuple[dict[str, Any], list[int]]:
        data, descriptors, _, _ = socket.recv_fds(self._engine, ANSWER_BYTES, MAX_DESCRIPTORS)
        self._owned.add(*descriptors)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if not data:
            raise ConnectionResetError("the engine has ended")
        answer: dict[str, Any] = json.loads(data)
        if error := answer.get("error"):
            raise getattr(errors, error["kind"], errors.SwarmliteError)(error["message"])
        expected = len(answer.get("streams", ())) + bool(answer.get("stdin"))
        if len(descriptors) < expected:  # the kernel drops those that there is no room for
            self._owned.close(*descriptors)
            raise errors.Unavailable(
                f"{len(descriptors)} of {expected} streams arrived: the gateway of Docker's API has"
                " too many files open: close connections, or raise its limit of open files"
            )
        return answer, descriptors

    def _fail(self, error: Exception) -> None:
        self._loop.remove_reader(self._engine.fileno())
        for waited in (self._begun, self.connected):
            if not waited.done():
                waited.set_exception(error)
                waited.exception()  # nobody may wait for it
        self._ended()

    def _ended(self) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def ask_for_the_end(self) -> None:
        """Once all of the streams are at theirs: who closes its output has not ended."""
        if self._of_exec:
            return  # it is told in any case
        with contextlib.suppress(OSError):
            self._engine.send(WHEN_IT_ENDS)

    def end_input(self, descriptor: int) -> None:
        """Nothing more comes for the container."""
        self._owned.close(descriptor)

    def close(self) -> None:
        """The container goes on, its input ended if that is for one client only."""
        if self._engine.fileno() >= 0:
            self._loop.remove_reader(self._engine.fileno())
        self._owned.__exit__()
        self._engine.close()
