"""A hijacked connection and a container's own descriptors, joined: attach and exec.

Callbacks and no tasks: what one piece of a stream costs is one wake-up, a read and a write.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from typing import Protocol

from swarmlite.engine.io.descriptors import BLOCK_BYTES
from swarmlite.gateway.streams.connection import HIGH_BYTES, Hijacked
from swarmlite.gateway.streams.frames import frame
from swarmlite.model.detach_keys import Detector
from swarmlite.proto.control_pb2 import LOG_STDOUT, LogStream


class Source(Protocol):
    """What a container or an exec has for one client: Handed, Direct."""

    tty: bool
    streams: dict[int, LogStream.ValueType]
    """To read from, without blocking."""
    connected: asyncio.Future[int | None]
    """Once its process is there: its input, if that was asked for and is open."""
    over: asyncio.Future[None]
    """After `ask_for_the_end`, once the process has ended."""

    def ask_for_the_end(self) -> None:
        """Once all of the streams are at theirs."""

    def end_input(self, descriptor: int) -> None:
        """Nothing more comes for it."""

    def close(self) -> None:
        """Its descriptors; safe to repeat."""


class Conversation:
    """One client's; it takes the connection over, as `Hijacked.take` asks for."""

    def __init__(self, client: Hijacked, handed: Source, detach_keys: bytes | None = None) -> None:
        """`detach_keys` only where there is a terminal to type at."""
        self._client, self._handed = client, handed
        self._detector = Detector(detach_keys) if detach_keys else None
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._open = dict(handed.streams)
        self._going_on: asyncio.Future[None] | None = None
        self._input: int | None = None
        self._typed = bytearray()
        self._no_more = self._leaves = self._waits = False
        self._ready = False  # the process is there, and `_input` says whether it reads

    async def run(self) -> None:
        """Until the container's output ends or the keys that detach are typed.

        What fails before the container's process is there is told in the stream, since the status
        has been sent. Raises ConnectionError once the client has gone.
        """
        try:
            self._handed.connected.add_done_callback(self._connected)
            self._listen()
            if not self._open:
                self._outputs_ended()
            await self._done
        finally:
            self._done.cancel()
            if self._going_on is not None:
                self._going_on.cancel()
            for descriptor in self._open:
                self._loop.remove_reader(descriptor)
            if self._waits and self._input is not None:
                self._loop.remove_writer(self._input)
            self._handed.close()

    def _end(self, error: Exception | None = None) -> None:
        if self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)

    # from the container to the client
    def _listen(self) -> None:
        for descriptor in self._open:
            self._loop.add_reader(descriptor, self._readable, descriptor)

    def _readable(self, descriptor: int) -> None:
        if not self._client.head_is_read:
            self._pause(self._client.head_read)
            return
        try:
            data = os.read(descriptor, BLOCK_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # of a console: its last user has gone
                self._end(error)
                return
            data = b""
        if data:
            self._tell(frame(self._open[descriptor], data, tty=self._handed.tty))
            return
        self._loop.remove_reader(descriptor)
        del self._open[descriptor]
        if not self._open:
            self._outputs_ended()

    def _tell(self, data: bytes) -> None:
        try:
            self._client.send(data)
        except ConnectionError as error:
            self._end(error)
            return
        if self._client.full and self._going_on is None:
            self._pause(self._client.drained)

    def _pause(self, until: Callable[[], Awaitable[None]]) -> None:
        """Their pipes fill, and the container waits."""
        for descriptor in self._open:
            self._loop.remove_reader(descriptor)
        self._going_on = asyncio.ensure_future(self._go_on(until))

    async def _go_on(self, until: Callable[[], Awaitable[None]]) -> None:
        try:
            await until()
        except ConnectionError as error:
            self._end(error)
            return
        self._going_on = None
        if not self._done.done():
            self._listen()

    def _outputs_ended(self) -> None:
        self._handed.connected.add_done_callback(lambda _: self._handed.ask_for_the_end())
        self._handed.over.add_done_callback(lambda _: self._end())

    # from the client to the container
    def _connected(self, connected: asyncio.Future[int | None]) -> None:
        if self._done.done() or connected.cancelled():
            return
        if (error := connected.exception()) is not None:
            self._tell(frame(LOG_STDOUT, f"{error}\r\n".encode(), tty=self._handed.tty))
            self._end()
            return
        self._input, self._ready = connected.result(), True
        self._hand_on()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Something was typed."""
        if self._leaves or self._done.done():
            return False, b""
        if self._detector is not None:
            data, self._leaves = self._detector.feed(data)
        self._typed += data
        self._hand_on()
        return False, b""

    def feed_eof(self) -> None:
        """Nothing more will be."""
        self._no_more = True
        self._hand_on()

    def _hand_on(self) -> None:
        """What the container takes of it; the rest waits, and with it the client."""
        if self._done.done():
            return
        if not self._waits and self._ready:
            self._write()
        if self._typed:
            if len(self._typed) > HIGH_BYTES:
                self._client.hold()
            return
        self._client.go_on()
        if not self._ready:
            return
        if self._leaves:
            self._end()
        elif self._no_more and self._input is not None:
            self._handed.end_input(self._input)
            self._input = None

    def _write(self) -> None:
        while self._typed and self._input is not None:
            try:
                del self._typed[: os.write(self._input, self._typed)]
            except BlockingIOError:
                self._waits = True
                self._loop.add_writer(self._input, self._writable)
                return
            except OSError:  # who reads no more is no error
                self._handed.end_input(self._input)
                self._input = None
        self._typed.clear()

    def _writable(self) -> None:
        assert self._input is not None
        self._waits = False
        self._loop.remove_writer(self._input)
        self._hand_on()
