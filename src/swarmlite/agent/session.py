"""The stream to a manager: hello, heartbeats, assignments down, statuses and log lines up.

One loop: connect to some manager, hold the session until it breaks, back off, connect again. What
runs on the node does not depend on it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Protocol

import grpc
import grpc.aio

from swarmlite import rpc
from swarmlite.agent.managers import ManagerList
from swarmlite.agent.reporter import Reporter
from swarmlite.errors import Conflict, PermissionDenied, SwarmliteError, Unavailable
from swarmlite.proto.dispatcher_pb2 import (
    AgentMessage,
    Assignments,
    CheckNetwork,
    FetchImage,
    HeldAttachment,
    Hello,
    LogChunk,
    LogSubscription,
    ManagerMessage,
    Measure,
    OpenTunnel,
    SessionInfo,
)
from swarmlite.proto.dispatcher_pb2_grpc import DispatcherStub
from swarmlite.proto.types_pb2 import NodeDescription

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.1
LAST_DELAY_S = 8.0
HELLO_TIMEOUT_S = 10.0
JITTER_S = 0.5
DEFAULT_PERIOD_S = 5.0

Call = Any  # grpc.aio.StreamStreamCall[AgentMessage, ManagerMessage]


class Handler(Protocol):
    """What a session drives; every method but `log_chunks` returns at once."""

    def session_started(self, info: SessionInfo) -> None:
        """A session began, or something in its information changed."""

    def session_lost(self) -> None:
        """The session ended; another will be tried."""

    def assigned(self, message: Assignments) -> None:
        """Raises Conflict when the message does not follow the last one."""

    def log_subscription(self, subscription: LogSubscription) -> None:
        """Managers want log lines, or no longer."""

    async def log_chunks(self) -> list[LogChunk]:
        """The next log lines to send, once there are any."""


class Session:
    """Keeps one session with one of the managers for as long as it runs."""

    def __init__(
        self,
        *,
        managers: ManagerList,
        channel: Callable[[str], grpc.aio.Channel],
        description: Callable[[], NodeDescription],
        reporter: Reporter,
        handler: Handler,
        attachments: Callable[[], Iterable[HeldAttachment]] = tuple,
        outgoing: Sequence[Callable[[], AsyncIterator[AgentMessage]]] = (),
        fetch: Callable[[FetchImage], None] = lambda _: None,
        tunnel: Callable[[OpenTunnel], None] = lambda _: None,
        measure: Callable[[Measure], None] = lambda _: None,
        check: Callable[[CheckNetwork], None] = lambda _: None,
        place: str = "",
    ) -> None:
        """`channel` opens a connection with mutual TLS to an address.

        `outgoing` give messages of one session each, without end; `fetch` is told of images that
        managers want here, `tunnel` of tunnels that they want to tasks, `measure` of
        tasks whose use they want to know, `check` of networks that they want probed.
        `attachments` are the places of plain containers that managers are to keep. `place` is
        as Hello has it.
        """
        self._managers = managers
        self._channel = channel
        self._description = description
        self._reporter = reporter
        self._handler = handler
        self._attachments = attachments
        self._outgoing, self._fetch, self._tunnel = outgoing, fetch, tunnel
        self._measure, self._check = measure, check
        self._instance = secrets.token_hex(16)
        self._place = place
        self._session_id = ""
        self._period_s = DEFAULT_PERIOD_S
        self._delay_s = FIRST_DELAY_S
        self._renew = asyncio.Event()
        self.connected_to = ""
        self.error = ""
        self.begun = 0
        """Sessions that began, in this process's life."""
        self._said = NodeDescription()

    def reconnect(self) -> None:
        """End the session and begin another: a new certificate is in place."""
        self._renew.set()

    async def run(self) -> None:
        """Sessions without end. Raises PermissionDenied once the node was removed."""
        while True:
            address, last = self._managers.next()
            self._renew.clear()
            try:
                await self._session(address)
            except PermissionDenied:
                raise
            except (Unavailable, Conflict) as error:
                if self.connected_to or str(error) != self.error:
                    log.warning("session lost manager=%s error=%s", address, error)
                self.error = str(error)
            finally:
                if self.connected_to:
                    self.connected_to = ""
                    self._handler.session_lost()
            await asyncio.sleep(self._delay_s * random.uniform(0.5, 1.0))
            if last:
                self._delay_s = min(self._delay_s * 2, LAST_DELAY_S)

    async def _session(self, address: str) -> None:
        channel = self._channel(address)
        try:
            call: Call = DispatcherStub(channel).Session()
            await self._converse(call, address)
        except grpc.aio.AioRpcError as error:
            raise _translated(error, address) from error
        except asyncio.InvalidStateError as error:  # the call ended while it was being written to
            raise Unavailable(f"{address}: the session ended") from error
        finally:
            await channel.close()

    async def _converse(self, call: Call, address: str) -> None:
        self._said = self._description()
        hello = Hello(
            description=self._said,
            session_id=self._session_id,
            instance=self._instance,
            attachments=self._attachments(),
            place=self._place,
        )
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                await call.write(AgentMessage(hello=hello))
                first: ManagerMessage | Any = await call.read()
        except TimeoutError as error:
            raise Unavailable(f"{address}: no answer within {HELLO_TIMEOUT_S:g} s") from error
        if first is grpc.aio.EOF:
            await self._raise_status(call, address)
        self.connected_to, self.error = address, ""
        self.begun += 1
        self._delay_s = FIRST_DELAY_S
        log.info("session started manager=%s id=%s", address, first.session.session_id)
        self._received(first)
        await self._hold(_Wire(call), address)

    async def _hold(self, wire: _Wire, address: str) -> None:
        """Run the session's loops until the first of them ends; that one says why."""
        loops = [
            asyncio.ensure_future(loop)
            for loop in (
                self._read(wire, address),
                self._send_statuses(wire),
                self._send_logs(wire),
                self._send_descriptions(wire),
                self._heartbeat(wire),
                self._renewed(),
                *(self._send_all(wire, messages) for messages in self._outgoing),
            )
        ]
        try:
            await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for loop in loops:
                loop.cancel()
            results = await asyncio.gather(*loops, return_exceptions=True)
        failures = [result for result in results if isinstance(result, Exception)]
        # The reader knows the status with which the manager ended the stream: its word counts most.
        if failures:
            raise failures[0]

    async def _read(self, wire: _Wire, address: str) -> None:
        while True:
            message = await wire.call.read()
            if message is grpc.aio.EOF:
                await self._raise_status(wire.call, address)
            self._received(message)

    def _received(self, message: ManagerMessage) -> None:
        if message.HasField("session"):
            self._started(message.session)
        if message.HasField("assignments"):
            self._handler.assigned(message.assignments)
        if message.HasField("log_subscription"):
            self._handler.log_subscription(message.log_subscription)
        if message.HasField("fetch_image"):
            self._fetch(message.fetch_image)
        if message.HasField("open_tunnel"):
            self._tunnel(message.open_tunnel)
        if message.HasField("measure"):
            self._measure(message.measure)
        if message.HasField("check_network"):
            self._check(message.check_network)
        for task_id in message.report_again:
            self._reporter.again(task_id)

    def _started(self, info: SessionInfo) -> None:
        self._session_id = info.session_id
        period = info.heartbeat_period
        self._period_s = period.seconds + period.nanos / 1e9 or DEFAULT_PERIOD_S
        self._managers.learn(peer.addr for peer in info.managers if peer.addr)
        self._handler.session_started(info)

    async def _send_statuses(self, wire: _Wire) -> None:
        while True:
            updates = await self._reporter.batch()
            try:
                await wire.send(AgentMessage(statuses=updates))
            except BaseException:
                self._reporter.give_back(updates)
                raise

    async def _send_logs(self, wire: _Wire) -> None:
        while True:
            await wire.send(AgentMessage(logs=await self._handler.log_chunks()))

    async def _send_descriptions(self, wire: _Wire) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            now = self._description()
            if now != self._said:
                await wire.send(AgentMessage(description=now))
                self._said = now

    async def _send_all(
        self, wire: _Wire, messages: Callable[[], AsyncIterator[AgentMessage]]
    ) -> None:
        async for message in messages():
            await wire.send(message)

    async def _heartbeat(self, wire: _Wire) -> None:
        while True:
            due = (
                wire.last_sent
                + self._period_s
                - random.uniform(0, min(JITTER_S, self._period_s / 4))
            )
            delay = due - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            else:
                await wire.send(AgentMessage())

    async def _renewed(self) -> None:
        await self._renew.wait()

    async def _raise_status(self, call: Call, address: str) -> None:
        code, details = await call.code(), await call.details()
        if code == grpc.StatusCode.PERMISSION_DENIED:
            raise PermissionDenied(details or "this node was removed from the swarm")
        raise Unavailable(f"{address}: {details or code.name}")


class _Wire:
    """The sending side: one message at a time, as gRPC wants it; any of them is a heartbeat."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.last_sent = time.monotonic()
        self._turn = asyncio.Lock()

    async def send(self, message: AgentMessage) -> None:
        async with self._turn:
            await self.call.write(message)
            self.last_sent = time.monotonic()


def _translated(error: grpc.aio.AioRpcError, address: str) -> SwarmliteError:
    """PermissionDenied only where a manager said so itself: a failed handshake proves nothing."""
    if error.code() == grpc.StatusCode.PERMISSION_DENIED:
        return PermissionDenied(error.details() or "this node was removed from the swarm")
    return Unavailable(str(rpc.translate(error, f"manager {address}")))
