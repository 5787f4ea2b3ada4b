"""Waiting for a container to end, to end once more, or to be gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from swarmlite.engine.records import Record
from swarmlite.proto.containers_pb2 import WaitContainerRequest, WaitContainerResponse

Begun = Callable[[], Awaitable[None]]


async def wait(
    record: Record, condition: WaitContainerRequest.Condition.ValueType, begun: Begun
) -> WaitContainerResponse:
    """The exit code, once the condition holds; `begun` is awaited once nothing can be missed.

    NEXT_EXIT also ends with a start that fails, with that start's exit code and error.
    """
    exits, failed = record.exits, record.failed_starts

    def holds() -> bool:
        if record.removed:
            return True
        if condition == WaitContainerRequest.NOT_RUNNING:
            # One that its policy starts again has ended once too, as Docker has it.
            return not record.active or record.exits != exits
        if condition == WaitContainerRequest.NEXT_EXIT:
            return record.failed_starts != failed or record.exits != exits
        return False

    await begun()
    await record.until(holds)
    return WaitContainerResponse(exit_code=record.state.exit_code, error=record.state.error)
