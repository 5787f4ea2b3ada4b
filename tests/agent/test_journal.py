"""The node's tasks on disk."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from swarmlite.agent.journal import Journal
from swarmlite.model import task_states
from swarmlite.proto.objects_pb2 import Task
from swarmlite.proto.types_pb2 import TaskStatus


def a_task(task_id: str = "t1") -> Task:
    task = Task(id=task_id, node_id="n1", desired_state=task_states.RUNNING)
    task.spec.container.image = "busybox"
    task.spec.container.pull_options.registry_auth = "c2VjcmV0LWF1dGg="
    return task


async def test_tasks_and_last_statuses_survive(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.load()
    journal.put(a_task("t1"))
    journal.put(a_task("t2"))
    journal.put_status("t1", TaskStatus(state=task_states.RUNNING, message="started"))
    journal.forget("t2")
    journal.flush()
    loaded = Journal(tmp_path / "j").load()
    assert list(loaded) == ["t1"]
    assert loaded["t1"].status.state == task_states.RUNNING
    assert loaded["t1"].desired_state == task_states.RUNNING


async def test_a_torn_tail_is_dropped_and_what_was_before_it_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.load()
    journal.put(a_task("t1"))
    journal.put(a_task("t2"))
    journal.flush()
    data = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(data[:-7])
    assert list(Journal(tmp_path / "j").load()) == ["t1"]


async def test_registry_credentials_are_never_on_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.load()
    journal.put(a_task())
    journal.put_desired("t1", task_states.SHUTDOWN)
    journal.flush()
    assert b"c2VjcmV0" not in (tmp_path / "j").read_bytes()
    assert Journal(tmp_path / "j").load()["t1"].desired_state == task_states.SHUTDOWN


async def test_writes_are_gathered_and_reach_the_disk_soon(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.load()
    writer = asyncio.create_task(journal.run())
    for number in range(100):
        journal.put(a_task(f"t{number}"))

    def on_disk() -> int:
        """Of a copy: a journal that is loaded is written again, over what the other appends."""
        shutil.copy(tmp_path / "j", tmp_path / "copy")
        return len(Journal(tmp_path / "copy").load())

    while on_disk() < 100:
        await asyncio.sleep(0.02)
    journal.put(a_task("last"))
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    assert "last" in Journal(tmp_path / "j").load()
