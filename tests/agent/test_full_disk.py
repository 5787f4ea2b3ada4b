"""A node whose disk is full stays in the swarm, says so, and goes on; so does its next start."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_node import AgentNode

from swarmlite.agent.journal import Journal
from swarmlite.model import task_states
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.types_pb2 import NodeDescription

SIZE = "96m"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")


def fill(disk: Path) -> None:
    """Until not even an empty file can be written into."""
    for size in (1 << 20, 4096):
        with (disk / f"filler-{size}").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


def empty(disk: Path) -> None:
    for path in disk.glob("filler-*"):
        path.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "state"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


async def test_a_node_with_a_full_disk_stays_and_says_so(
    busybox: Any, disk: Path, tmp_path: Path
) -> None:
    node = AgentNode(tmp_path, busybox.folder, busybox.ref)
    node.manager.period_s = 0.3
    try:
        await node.start()
        await node.manager.session()
        running = node.task("sleep 1000")
        node.manager.assign(running)
        await node.manager.status(running.id, task_states.RUNNING)
        fill(disk)
        await node.manager.until(lambda: any(map(_full, _descriptions(node))), "a warning")
        refused = node.task("sleep 1000")
        node.manager.assign(refused)
        status = await node.manager.status(refused.id, task_states.REJECTED)
        assert "no space left" in status.err.lower()

        node.end("agent")  # and the next start is one on a full disk
        sessions = len(node.manager.hellos)
        await node.start_agent()
        await node.manager.until(lambda: len(node.manager.hellos) > sessions, "a session")
        assert _full(node.manager.hellos[-1].description)
        states = await node.containers()
        assert [state.status for state in states if state.id] == ["running"]

        before = len(node.manager.messages)
        empty(disk)
        await node.manager.until(
            lambda: any(
                message.HasField("description") and not _full(message.description)
                for message in node.manager.messages[before:]
            ),
            "no warning",
        )
        after = node.task("sleep 1000")
        node.manager.assign(after)
        await node.manager.status(after.id, task_states.RUNNING)
    finally:
        empty(disk)
        print(node.log("agent"))
        await node.close()


def _descriptions(node: AgentNode) -> list[NodeDescription]:
    return [
        message.description for message in node.manager.messages if message.HasField("description")
    ]


def _full(description: NodeDescription) -> bool:
    return any("no space left on the disk" in warning for warning in description.warnings)


async def test_a_journal_on_a_full_disk_is_complete_once_there_is_room(disk: Path) -> None:
    journal = Journal(disk / "agent/tasks")
    journal.load()
    writer = asyncio.create_task(journal.run())
    try:
        journal.put(Task(id="before"))
        await _until(lambda: "before" in Journal(disk / "agent/tasks").load())
        fill(disk)
        for number in range(500):
            journal.put(Task(id=f"during-{number}", node_id="n" * 100))
        await _until(lambda: journal.failure)
        assert not writer.done()
        assert set(Journal(disk / "agent/tasks").load()) >= {"before"}
    finally:
        empty(disk)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
    assert len(Journal(disk / "agent/tasks").load()) == 501
    assert not journal.failure


async def _until(predicate: object) -> None:
    async with asyncio.timeout(20):
        while not predicate():  # type: ignore[operator]
            await asyncio.sleep(0.01)


def test_node_ls_says_what_a_node_complains_of() -> None:
    from swarmlite.cli.node.ls import row
    from swarmlite.proto.objects_pb2 import Node
    from swarmlite.proto.types_pb2 import NodeStatus

    node = Node(id="n1")
    node.status.state = NodeStatus.READY
    assert row(node, "")["Status"] == "Ready"
    node.description.warnings.append("no space left on the disk of /var/lib/swarmlite")
    assert row(node, "")["Status"] == "Ready (no space left on the disk of /var/lib/swarmlite)"
    node.status.state = NodeStatus.DOWN  # what it said last is not news
    assert row(node, "")["Status"] == "Down"
