"""What tasks used in the last hour: what this manager was told, and what others were."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import grpc.aio

from swarmlite import rpc
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.proto.control_pb2 import Figure, FiguresRequest, FiguresResponse, TaskFigures
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.types_pb2 import NodeRole

from .api import Api

ASK_S = 2.0
MAX_TASKS = 1000
SLICE = 50
"""Tasks of which the figures are made in one turn of the loop."""


class Figures(Protocol):
    """What this manager's nodes told it."""

    def of(self, task_ids: Iterable[str]) -> list[TaskFigures]:
        """What is known of these, of the last hour."""


class AllFigures:
    """Those of all managers; of one that does not answer, none."""

    def __init__(
        self, api: Api, own: Figures, channel: Callable[[str], grpc.aio.Channel] | None
    ) -> None:
        """`channel` opens one to another manager's address."""
        self._api, self._own, self._channel = api, own, channel

    async def get(self, request: FiguresRequest) -> FiguresResponse:
        """See control.proto."""
        if len(request.task_ids) > MAX_TASKS:
            raise InvalidSpec(f"figures of at most {MAX_TASKS} tasks are answered at once")
        own = FiguresResponse()
        for part in _parts(request.task_ids):
            async with self._api.store.slices.one():
                own.tasks.extend(self._own.of(part))
        if request.own or self._channel is None:
            return own
        others = [
            node.manager_status.addr
            for node in self._api.view.nodes
            if node.role == NodeRole.MANAGER and node.id != self._api.node_id
        ]
        answers = [own, *await asyncio.gather(*(self._of(each, request) for each in others))]
        return await self._merged(answers)

    async def _merged(self, answers: Iterable[FiguresResponse]) -> FiguresResponse:
        by_task: dict[str, list[TaskFigures]] = {}
        for answer in answers:
            for task in answer.tasks:
                by_task.setdefault(task.task_id, []).append(task)
        merged = FiguresResponse()
        for part in _parts(list(by_task)):
            async with self._api.store.slices.one():
                merged.tasks.extend(_merged(by_task[task_id]) for task_id in part)
        return merged

    async def _of(self, address: str, request: FiguresRequest) -> FiguresResponse:
        assert self._channel is not None
        if not address:
            return FiguresResponse()
        asked = FiguresRequest(task_ids=request.task_ids, own=True)
        channel = self._channel(address)
        try:
            with rpc.translated(f"manager {address}"):
                answer: FiguresResponse = await ControlStub(channel).GetFigures(
                    asked, timeout=ASK_S
                )
                return answer
        except SwarmliteError:
            return FiguresResponse()
        finally:
            await channel.close()


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(ids), SLICE):
        yield ids[begin : begin + SLICE]


def _merged(told: Sequence[TaskFigures]) -> TaskFigures:
    """Of one task: its node may have talked to several managers in the hour."""
    if len(told) == 1:
        return told[0]
    minutes: dict[int, Figure] = {}
    for each in told:
        minutes.update({-figure.minutes_ago: figure for figure in each.figures})
    return TaskFigures(task_id=told[0].task_id, figures=[minutes[at] for at in sorted(minutes)])
