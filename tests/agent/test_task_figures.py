"""What tasks use, told to a manager that asks."""

from __future__ import annotations

import asyncio

from agent_node import AgentNode

from swarmlite.model import task_states
from swarmlite.proto.dispatcher_pb2 import ManagerMessage, Measure, TaskUsage


async def test_a_measure_of_all_is_answered_with_every_task_that_runs(node: AgentNode) -> None:
    """From the first time on: what it used since its start."""
    busy, ended = node.task("while :; do :; done"), node.task("true")
    for task in (busy, ended):
        node.manager.assign(task)
    await node.manager.status(busy.id, task_states.RUNNING)
    await node.manager.status(ended.id, task_states.COMPLETE)

    async def measured() -> list[TaskUsage]:
        before = len(node.manager.messages)
        node.manager.send(ManagerMessage(measure=Measure(all=True)))
        while True:
            for message in node.manager.messages[before:]:
                if message.figures:
                    return list(message.figures)
            await asyncio.sleep(0.05)

    def expected(figures: list[TaskUsage]) -> bool:
        ids = [one.task_id for one in figures]
        return ids == [busy.id] and figures[0].nano_cpus > 0 and figures[0].memory_bytes > 0

    async with asyncio.timeout(120):
        for _ in range(2):
            while not expected(await measured()):
                continue
    assert not any(message.usage for message in node.manager.messages)
