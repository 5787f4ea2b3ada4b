"""Tasks with a terminal, an open input and binds of the host's own /sys and /dev."""

from __future__ import annotations

import asyncio
import time

from agent_node import AgentNode

from swarmlite.model import task_states
from swarmlite.proto.types_pb2 import Mount


async def test_a_task_has_the_terminal_and_the_binds_that_its_service_asks_for(
    node: AgentNode,
) -> None:
    """As monitoring stacks do: what is below /sys in the container is the host's."""
    script = "tty; echo $TERM; test -w /sys/kernel && echo bound; df /dev/shm | tail -1; sleep 600"
    task = node.task(script)
    container = task.spec.container
    container.tty = container.open_stdin = True
    container.cgroupns_mode = "host"
    container.shm_size_bytes = 8 << 20
    container.mounts.append(Mount(type=Mount.BIND, source="/sys", target="/sys"))
    node.manager.assign(task)
    status = await node.manager.status(task.id, task_states.RUNNING)
    assert (status.state, status.err) == (task_states.RUNNING, "")
    deadline = time.monotonic() + 30
    while "/dev/shm" not in (output := node.output(task.id)):
        assert time.monotonic() < deadline, output
        await asyncio.sleep(0.1)
    assert "/dev/" in output.splitlines()[0]
    assert "xterm" in output
    assert "8192" in output
