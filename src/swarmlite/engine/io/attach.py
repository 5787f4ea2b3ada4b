"""Attaching to a container: its output from now on, its input, and its exit code at the end.

A container may be attached to before it is started: `docker run` does, so as to miss nothing. Then
the attachment waits, and whoever makes the process calls `connect` before letting it go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from swarmlite.engine.io.descriptors import Owned, output_pipes
from swarmlite.engine.io.pumps import Input, ended, feed, outputs
from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound, SwarmliteError, Unavailable
from swarmlite.proto.containers_pb2 import AttachInput, Container, ContainerState, StreamOutput
from swarmlite.runtime.client import State, Supervisor

Before = Callable[[int], AsyncIterator[StreamOutput]]
"""What a container wrote before a time in nanoseconds since the epoch."""

STARTED = (ContainerState.RUNNING,)
NOT_YET = (ContainerState.CREATED, ContainerState.EXITED, ContainerState.RESTARTING)


class Attachment:
    """One client's descriptors: ours to read and write, the supervisor's to be handed over."""

    def __init__(
        self, start: AttachInput.Start, owned: Owned, *, stdin: bool, waits: bool = False
    ) -> None:
        """`waits`: for the exit code too."""
        self.owned, self._waits = owned, waits
        self.streams, self.theirs = output_pipes(owned, stdout=start.stdout, stderr=start.stderr)
        self.wants_stdin = stdin
        self.stdin: int | None = None
        self.since_ns = 0
        self.created_at: float | None = None
        self.gone = asyncio.Event()
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.exit: asyncio.Future[State] | None = None

    async def connect(self, client: Supervisor, container_id: str) -> None:
        """Hand the descriptors over. Raises SwarmliteError."""
        if self.gone.is_set():  # and its descriptors with it, whose numbers may be others' by now
            return
        attached = await client.attach(
            container_id,
            stdout=self.theirs.get("stdout"),
            stderr=self.theirs.get("stderr"),
            stdin=self.wants_stdin,
        )
        if self.gone.is_set():
            if attached.stdin is not None:
                os.close(attached.stdin)
            return
        self.since_ns, self.created_at = attached.time_ns, attached.created_at
        if attached.stdin is not None:
            os.set_blocking(attached.stdin, False)
            self.owned.add(attached.stdin)
            self.stdin = attached.stdin
        self.owned.close(*self.theirs.values())
        if self._waits:
            self.exit = asyncio.ensure_future(client.wait(container_id, self.created_at))
        if not self.connected.done():
            self.connected.set_result(None)

    async def leave(self) -> None:
        """Its client is gone."""
        self.gone.set()
        if self.exit is not None:
            await ended(self.exit)

    def fail(self, error: SwarmliteError) -> None:
        """It will not be connected any more: its client is told."""
        if not self.connected.done():
            self.connected.set_exception(error)
            self.connected.exception()  # its client may have left


class Attachments:
    """Who is attached to this host's containers, and who waits to be."""

    def __init__(self, client: Callable[[], Supervisor]) -> None:
        """`client` is the connection to the supervisor; raises Unavailable while there is none."""
        self._client = client
        self._waiting: dict[str, list[Attachment]] = {}

    async def connect(self, container_id: str) -> None:
        """Its process has been made, and has not begun: those who wait are attached to it."""
        for attachment in self._waiting.pop(container_id, []):
            try:
                await attachment.connect(self._client(), container_id)
            except SwarmliteError as error:
                attachment.fail(error)
            except OSError as error:  # no descriptors left: the container starts all the same
                attachment.fail(Unavailable(f"the container cannot be attached to: {error}"))

    def awaited(self, container_id: str) -> bool:
        """Whether anybody waits for its process."""
        return container_id in self._waiting

    def removed(self, container_id: str) -> None:
        """It will not be started any more: those who wait are told."""
        for attachment in self._waiting.pop(container_id, []):
            attachment.fail(FailedPrecondition(f"container {container_id[:12]} was removed"))

    async def attach(
        self,
        container: Container,
        start: AttachInput.Start,
        inputs: AsyncIterator[Input],
        attached: Callable[[], Awaitable[None]],
        before: Before | None = None,
    ) -> AsyncGenerator[StreamOutput, None]:
        """Output as it comes; the last message carries the exit code, as `converse` says.

        `attached` is awaited once nothing can be missed any more; `before` gives what `start.logs`
        asks for. Raises FailedPrecondition for a container that cannot be attached to. Closed: the
        container goes on, its input ended if that is for one client only.
        """
        if not (start.stream or start.logs):
            raise InvalidSpec("attach: neither logs nor stream is asked for")
        async with self.attached(container, start, waits=True) as attachment:
            await attached()
            if start.logs and before is not None:
                async for output in before(attachment.since_ns):
                    yield output
            if start.stream:
                async with contextlib.aclosing(converse(attachment, inputs)) as messages:
                    async for output in messages:
                        yield output

    @asynccontextmanager
    async def attached(
        self, container: Container, start: AttachInput.Start, *, waits: bool = False
    ) -> AsyncIterator[Attachment]:
        """The descriptors themselves, in place, and closed at the end of the block.

        `waits`: for the exit code too. Raises FailedPrecondition as `attach`.
        """
        if start.stream:
            _check(container)
        with Owned() as owned:
            stdin = start.stdin and start.stream and container.config.spec.open_stdin
            attachment = Attachment(start, owned, stdin=stdin, waits=waits)
            try:
                if start.stream:
                    await self._begin(container, attachment)
                yield attachment
            finally:
                self._forget(container.id, attachment)
                await attachment.leave()

    async def _begin(self, container: Container, attachment: Attachment) -> None:
        if container.state.status in STARTED:
            await attachment.connect(self._client(), container.id)
        else:
            self._waiting.setdefault(container.id, []).append(attachment)

    def _forget(self, container_id: str, attachment: Attachment) -> None:
        waiting = self._waiting.get(container_id, [])
        if attachment in waiting:
            waiting.remove(attachment)
            if not waiting:
                del self._waiting[container_id]


async def converse(
    attachment: Attachment, inputs: AsyncIterator[Input]
) -> AsyncGenerator[StreamOutput, None]:
    """Output as it comes, and the exit code at its end where the attachment waits for it.

    There is none where the container was gone, or made again, before it could be waited for.
    """
    await attachment.connected
    feeding: list[asyncio.Future[None]] = []
    if attachment.stdin is not None:
        feeding.append(asyncio.ensure_future(feed(attachment.owned, attachment.stdin, inputs)))
    try:
        async with contextlib.aclosing(outputs(attachment.streams)) as messages:
            async for output in messages:
                yield output
        if attachment.exit is not None:
            try:
                state = await attachment.exit
            except NotFound:  # it had ended before, and who waits for it is told how
                return
            yield StreamOutput(exit_code=255 if state.exit_code is None else state.exit_code)
    finally:
        await ended(*feeding)


def _check(container: Container) -> None:
    status = container.state.status
    if status == ContainerState.PAUSED:
        raise FailedPrecondition("You cannot attach to a paused container, unpause it first")
    if status not in STARTED and status not in NOT_YET:
        word = ContainerState.Status.Name(status).lower()
        raise FailedPrecondition(f"container {container.id[:12]} is {word}")
