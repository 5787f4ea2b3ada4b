"""Waiting for a container to end, to end once more, or to be gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from swarmlite.engine.records import Record
from swarmlite.proto.containers_pb2 import WaitContainerRequest, WaitContainerResponse

Begun = Callable[[], Awaitable[None]]


class Waiting:
    """A wait that is in place once it is made; `answer` waits for what the condition says.

    NEXT_EXIT also ends with a start that fails, with that start's exit code and error.
    """

    def __init__(self, record: Record, condition: WaitContainerRequest.Condition.ValueType) -> None:
        """Nothing that happens from now on is missed."""
        self._record, self._condition = record, condition
        self._exits, self._failed = record.exits, record.failed_starts

    def _holds(self) -> bool:
        record = self._record
        if record.removed:
            return True
        if self._condition == WaitContainerRequest.NOT_RUNNING:
            # One that its policy starts again has ended once too, as Docker has it.
            return not record.active or record.exits != self._exits
        if self._condition == WaitContainerRequest.NEXT_EXIT:
            return record.failed_starts != self._failed or record.exits != self._exits
        return False

    async def answer(self) -> WaitContainerResponse:
        """The exit code, once the condition holds."""
        state = self._record.state
        await self._record.until(self._holds)
        return WaitContainerResponse(exit_code=state.exit_code, error=state.error)


async def wait(
    record: Record, condition: WaitContainerRequest.Condition.ValueType, begun: Begun
) -> WaitContainerResponse:
    """See Waiting; `begun` is awaited once nothing can be missed."""
    waiting = Waiting(record, condition)
    await begun()
    return await waiting.answer()
