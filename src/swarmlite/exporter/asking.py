"""Asks every process of this node how it is and what it counted, all at once and not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from swarmlite import rpc
from swarmlite.client import daemon, membership
from swarmlite.client.reach.local import Local
from swarmlite.errors import SwarmliteError
from swarmlite.exporter import processes
from swarmlite.model.figures import Figures
from swarmlite.paths import Paths
from swarmlite.proto.observed_pb2 import MetricFamily, ObserveRequest
from swarmlite.proto.observed_pb2_grpc import ObservedStub
from swarmlite.runtime.client import Supervisor

PATIENCE_S = 5.0
"""Prometheus waits 10 s for a scrape."""


@dataclass
class Answer:
    """What one process said."""

    process: str
    up: bool = False
    ready: bool = False
    reason: str = ""
    families: list[MetricFamily] = field(default_factory=list)

    @property
    def line(self) -> str:
        """For a person: "manager: not ready: the managers have no quorum"."""
        state = "ok" if self.ready else "not ready" if self.up else "does not answer"
        return f"{self.process}: {state}" + (f": {self.reason}" if self.reason else "")


class Node:
    """This node's processes."""

    def __init__(self, paths: Paths) -> None:
        """Nothing is connected yet."""
        self._paths = paths
        self._channels: dict[Path, grpc.aio.Channel] = {}

    async def answers(self, *, only_ready: bool) -> list[Answer]:
        """Of swarmlited, the supervisor, the agent and, on a manager, the manager; in this order.

        Never raises: a process that does not answer says why.
        """
        asked = [self._daemon(), self._supervisor(), self._observed("agent", only_ready)]
        if membership.is_manager(self._paths):
            asked.append(self._observed("manager", only_ready))
        return list(await asyncio.gather(*asked))

    async def _observed(self, process: str, only_ready: bool) -> Answer:
        path = getattr(self._paths, f"{process}_socket")
        if path not in self._channels:
            self._channels[path] = rpc.unix_channel(path)
        call = ObservedStub(self._channels[path]).Observe(
            ObserveRequest(only_ready=only_ready), timeout=PATIENCE_S
        )

        async def ask(answer: Answer) -> None:
            with rpc.translated(f"the {process}"):
                said = await call
            answer.ready, answer.reason = said.ready, said.reason
            answer.families = list(said.families)

        return await _asked(process, ask)

    async def _daemon(self) -> Answer:
        async def ask(answer: Answer) -> None:
            node = Local(self._paths)
            status = await asyncio.to_thread(
                daemon.request, node, {"op": "status"}, timeout_s=PATIENCE_S
            )
            answer.reason = str(status.get("error") or "")
            answer.ready = not answer.reason
            answer.families = _processes(status)

        return await _asked("swarmlited", ask)

    async def _supervisor(self) -> Answer:
        async def ask(answer: Answer) -> None:
            supervisor = await Supervisor.connect(self._paths.supervisor_socket)
            try:
                info = await supervisor.info()
            finally:
                await supervisor.close()
            figures = Figures("swarmlite_supervisor")
            figures.gauge("containers", "Containers whose parent it is.", info["containers"])
            figures.gauge("kept", "Sets of descriptors that it keeps.", len(info["kept"]))
            answer.ready, answer.families = True, figures.families

        return await _asked("supervisor", ask)

    async def close(self) -> None:
        """End what was opened."""
        for channel in self._channels.values():
            await channel.close()


async def _asked(process: str, ask: Any) -> Answer:
    answer = Answer(process)
    try:
        async with asyncio.timeout(PATIENCE_S):
            work: Awaitable[None] = ask(answer)
            await work
        answer.up = True
    except TimeoutError:
        answer.reason = f"no answer within {PATIENCE_S:g} s"
    except (SwarmliteError, OSError) as error:
        answer.reason = str(error)
    return answer


def _processes(status: Mapping[str, Any]) -> list[MetricFamily]:
    """The memory, time and descriptors of each process that swarmlited knows of."""
    figures = Figures("swarmlite_process")
    children: dict[str, Any] = {"swarmlited": {"pid": status["pid"]}, **status["children"]}
    for name, child in children.items():
        restarts = int(child.get("restarts") or 0)
        figures.counter("restarts", "How often it was started again.", restarts, process=name)
        found = processes.usage(int(child["pid"])) if child.get("pid") else None
        if found is None:
            continue
        figures.gauge("resident_bytes", "Memory that it occupies.", found.resident, process=name)
        figures.counter("cpu_seconds", "Processor time that it took.", found.cpu_s, process=name)
        figures.gauge("open_fds", "Descriptors that it has open.", found.fds, process=name)
    return figures.families
