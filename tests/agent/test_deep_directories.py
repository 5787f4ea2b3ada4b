"""What a hostile container leaves behind is removed whatever its shape, and ends no agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent_node import AgentNode

from swarmlite.agent.workload import container_id_of
from swarmlite.model import task_states
from swarmlite.proto.types_pb2 import Mount
from swarmlite.storage import trees

# A shell goes no deeper than a path is long; what it has dug so far is moved to the new bottom.
DIG = f"""
path={"d/" * 1000}
dig() {{ cd $1; for turn in 1 2 3; do
  mkdir -p top$turn/$path; cd top$turn/$path
  [ $turn = 1 ] || mv $1/top$((turn-1)) below
  cd $1
done; }}
mkdir -p /srv; dig /srv; dig /data; echo dug
"""


async def test_directories_three_thousand_deep(node: AgentNode) -> None:
    try:
        deep = node.task(DIG)
        deep.spec.container.mounts.append(Mount(type=Mount.VOLUME, target="/data"))
        node.manager.assign(deep)
        ended = await node.manager.status(deep.id, task_states.COMPLETE)
        assert (ended.state, node.output(deep.id)) == (task_states.COMPLETE, "dug\n")
        snapshot = node.paths.snapshots_dir / container_id_of(deep.id)
        node.manager.withdraw(deep.id)
        await until(lambda: not snapshot.exists())
        await until(lambda: not list(node.paths.snapshots_dir.glob(".gone-*")))
        await until(lambda: not any(node.paths.volumes_dir.iterdir()))
        alive = node.task("sleep 600")
        node.manager.assign(alive)
        await node.manager.status(alive.id, task_states.RUNNING)
    finally:  # whatever fails: pytest itself could not remove them
        await node.close()
        trees.sweep(node.paths.state_dir)


async def until(predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not predicate():
            await asyncio.sleep(0.05)
