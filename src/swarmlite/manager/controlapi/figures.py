"""What tasks used in the last hour: what this manager was told, and what others were."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
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
        own = FiguresResponse(tasks=self._own.of(request.task_ids))
        if request.own or self._channel is None:
            return own
        others = [
            node.manager_status.addr
            for node in self._api.view.nodes
            if node.role == NodeRole.MANAGER and node.id != self._api.node_id
        ]
        answers = [own, *await asyncio.gather(*(self._of(each, request) for each in others))]
        return _merged(answers)

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


def _merged(answers: list[FiguresResponse]) -> FiguresResponse:
    """A node may have talked to several managers in the hour."""
    by_task: dict[str, dict[int, Figure]] = {}
    for answer in answers:
        for task in answer.tasks:
            minutes = by_task.setdefault(task.task_id, {})
            minutes.update({-figure.minutes_ago: figure for figure in task.figures})
    merged = FiguresResponse()
    for task_id, minutes in by_task.items():
        merged.tasks.add(task_id=task_id, figures=[minutes[at] for at in sorted(minutes)])
    return merged
