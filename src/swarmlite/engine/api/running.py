"""`Run`: create, attach, start and wait as one call, for who would make four in a row."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from swarmlite import rpc
from swarmlite.engine import waiting
from swarmlite.engine.engine import Engine
from swarmlite.engine.io.attach import converse
from swarmlite.engine.records import Record
from swarmlite.errors import InvalidSpec
from swarmlite.proto import containers_pb2 as pb

Context = Any  # grpc.aio.ServicerContext, which has no types
Requests = AsyncIterator[pb.RunInput]


class RunService:
    """See containers.proto; to be mixed into its servicer."""

    def __init__(self, engine: Engine) -> None:
        """`engine` has the containers."""
        self._engine = engine

    async def Run(self, request: Requests, context: Context) -> None:
        """What has begun is done to its end, also when the client goes away meanwhile."""
        first = await anext(request, None)
        if first is None or not first.HasField("config"):
            raise InvalidSpec("the first message says what to run")
        first.config.ClearField("task")  # only the agent's
        lifecycle = self._engine.lifecycle
        record, warnings = await asyncio.shield(
            asyncio.ensure_future(lifecycle.create(first.config))
        )
        await context.send_initial_metadata(rpc.BEGUN)
        await context.write(pb.RunOutput(id=record.id, warnings=warnings))
        if not await _told_to_start(request):
            return
        config = record.config
        if config.attach_stdin or config.attach_stdout or config.attach_stderr:
            await self._attended(record, request, context)
        else:
            await self._begin(record, context, _nobody)

    async def _attended(self, record: Record, request: Requests, context: Context) -> None:
        config, streams = record.config, self._engine.streams
        start = pb.AttachInput.Start(
            ref=record.id,
            stdin=config.attach_stdin,
            stdout=config.attach_stdout,
            stderr=config.attach_stderr,
            stream=True,
        )
        async with streams.attachments.attached(record.message, start) as attachment:
            streams.tell(record.id, "attach")

            async def pass_on() -> None:
                async with contextlib.aclosing(converse(attachment, request)) as messages:
                    async for output in messages:
                        await context.write(pb.RunOutput(stream=output.stream, data=output.data))

            await self._begin(record, context, pass_on)

    async def _begin(
        self, record: Record, context: Context, meanwhile: Callable[[], Awaitable[None]]
    ) -> None:
        """Start it, do what is to be done while it runs, and tell its end."""
        removed = record.config.auto_remove
        condition = (
            pb.WaitContainerRequest.REMOVED if removed else pb.WaitContainerRequest.NEXT_EXIT
        )
        end = waiting.Waiting(record, condition)
        await asyncio.shield(asyncio.ensure_future(self._engine.lifecycle.start_by_user(record)))
        await context.write(pb.RunOutput(started=True))
        await meanwhile()
        answer = await end.answer()
        await context.write(pb.RunOutput(exit_code=answer.exit_code, error=answer.error))


async def _told_to_start(request: Requests) -> bool:
    """Whether the client asks for it; one that goes away, or says anything else, does not."""
    second = await anext(request, None)
    return second is not None and second.start


async def _nobody() -> None:
    pass
