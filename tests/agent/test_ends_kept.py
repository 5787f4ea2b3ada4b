"""How a task ended is kept whenever the agent is killed while it clears up after it."""

from __future__ import annotations

import asyncio

import pytest
from agent_node import AgentNode

from swarmlite.model import task_states


async def test_a_task_that_finished_is_complete_though_the_agent_is_killed_meanwhile(
    node: AgentNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.end("agent")
    monkeypatch.setenv("SWARMLITE_ENGINE_KILL_AT", "process.undone")
    await node.start_agent()
    monkeypatch.delenv("SWARMLITE_ENGINE_KILL_AT")
    task = node.task("exit 0")
    node.manager.assign(task)
    process = node._processes["agent"]
    async with asyncio.timeout(60):
        while process.poll() is None:
            await asyncio.sleep(0.05)
    await node.start_agent()
    status = await node.manager.status(task.id, task_states.COMPLETE)
    assert (status.container.exit_code, status.err) == (0, "")
