"""`swarmlite top`: what it shows of a manager's real API, and what it says where it cannot.

With nodes, usage and a shell: tests/integration/test_tasks_anywhere.py.
"""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmlite.cli.dashboard import follow
from swarmlite.cli.dashboard.picture import Picture
from swarmlite.cli.dashboard.rates import Readings, Usage
from swarmlite.cli.session import Session
from swarmlite.model import task_states
from swarmlite.paths import Paths
from swarmlite.proto.containers_pb2 import ContainerStats, InterfaceStats
from swarmlite.proto.objects_pb2 import Node, Service, Task


def reading(task: str, cpu_s: float, host_s: float, received: int = 0) -> ContainerStats:
    return ContainerStats(
        name=f"web.1.{task}",
        running=True,
        cpu_usage_ns=int(cpu_s * 1e9),
        host_cpu_usage_ns=int(host_s * 1e9),
        online_cpus=2,
        memory_usage_bytes=3000,
        memory_inactive_file_bytes=1000,
        interfaces=[InterfaceStats(rx_bytes=received, tx_bytes=received // 2)],
    )


def test_usage_is_what_lies_between_two_readings_and_ends_with_them() -> None:
    readings = Readings()
    readings.told(reading("t1", 1.0, 10.0), 100.0)
    assert readings.of("t1", 100.0) is None
    readings.told(reading("t1", 1.5, 12.0, received=4000), 102.0)
    assert readings.of("t1", 102.0) == Usage(50.0, 2000, 2000.0, 1000.0)
    assert readings.of("t1", 130.0) is None  # its node says nothing any more
    readings.told(ContainerStats(name="web.1.t1"), 131.0)
    assert readings.of("t1", 131.0) is None


def test_a_table_adds_up_tasks_and_is_ordered_by_what_they_use() -> None:
    picture = Picture()
    nodes = [Node(id=f"n{i}") for i in (1, 2)]
    for node in nodes:
        node.description.hostname = f"host-{node.id}"
        node.description.resources.nano_cpus = 4 * 10**9
    services = [Service(id=name) for name in ("api", "web")]
    for service in services:
        service.spec.annotations.name = service.id
    tasks = [task("t1", "web", "n1", 1), task("t2", "web", "n2", 2), task("t3", "api", "n2", 1)]
    picture.replace(nodes, services, tasks)
    for name, cpu_s in (("t1", 1.0), ("t2", 3.0), ("t3", 0.5)):
        picture.readings.told(reading(name, 0.0, 10.0), 0.0)
        picture.readings.told(reading(name, cpu_s, 20.0), 1.0)
    at = 1.0
    picture.now = lambda: at
    by_name = [row.cells[0] for row in picture.rows("tasks")]
    assert by_name == ["api.1", "web.1", "web.2"]
    assert [row.cells[0] for row in picture.rows("tasks", "cpu")] == ["web.2", "web.1", "api.1"]
    assert [row.cells[0] for row in picture.rows("tasks", only="n2")] == ["api.1", "web.2"]
    used = {row.key: row.cells for row in picture.rows("nodes", "cpu")}
    assert list(used) == ["n2", "n1"]
    assert used["n2"][4:6] == ("2", "70.0% of 400%")
    assert picture.rows("services", "cpu")[0].cells[0] == "web"
    at = 1000.0
    assert {row.cells[5] for row in picture.rows("nodes")} == {"-- of 400%"}


def task(task_id: str, service: str, node: str, slot: int) -> Task:
    made = Task(id=task_id, service_id=service, node_id=node, slot=slot)
    made.service_annotations.name = service
    made.desired_state = made.status.state = task_states.RUNNING
    return made


def test_without_the_extra_one_line_says_how_to_get_it(run: Any, world: Any) -> None:
    code = (
        "import sys; sys.modules['textual'] = None\n"
        "from swarmlite.cli import app; sys.exit(app.run(['top']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "swarmlite top without a container needs textual: pip install 'swarmlite[top]'\n"
    )


def test_what_is_no_terminal_is_told_what_to_use(run: Any, world: Any) -> None:
    pytest.importorskip("textual", reason="the extra `top` is not installed")
    result = run("top")
    assert (result.status, result.out) == (1, "")
    assert "draws on a terminal, and this is none" in result.err
    assert result.err.count("\n") == 1


async def test_tables_follow_the_cluster_and_keys_lead_to_tasks_and_logs(
    run: Any, world: Any
) -> None:
    pytest.importorskip("textual", reason="the extra `top` is not installed")
    from dashboard_pilot import Watched

    from swarmlite.cli.dashboard.screen import Dashboard

    world.running = True
    for name, replicas in (("api", "1"), ("web-red", "2")):
        made = ["service", "create", "-d", "--no-resolve-image", "--replicas", replicas]
        assert run(*made, "--name", name, "x").status == 0
    shells: list[str] = []
    app = Dashboard(Session(Paths.from_environment()), shells.append)
    async with app.run_test(size=(160, 40)) as pilot:
        seen = Watched(app, pilot)
        await seen.until(lambda: seen.column("services", 0) == ["api", "web-red"])
        await seen.until(lambda: seen.column("services", 2) == ["1/1", "2/2"])
        await seen.until(lambda: seen.column("nodes", 0) == ["alpha", "beta"])
        assert seen.column("tasks", 0) == ["api.1", "web-red.1", "web-red.2"]
        # Enter on a service shows its tasks; Esc all of them.
        await pilot.press("down", "enter")
        await seen.until(lambda: seen.column("tasks", 0) == ["web-red.1", "web-red.2"])
        assert "tasks of web-red" in seen.said()
        await pilot.press("escape")
        await seen.until(lambda: len(seen.column("tasks", 0)) == 3)
        # A change is shown without a key, the cursor on what it was on.
        await pilot.press("end")
        here = seen.at_cursor("tasks")
        assert run("service", "scale", "-d", "api=2").status == 0
        await seen.until(lambda: len(seen.column("tasks", 0)) == 4)
        assert seen.at_cursor("tasks") == here
        await pilot.press("2", "l")
        await seen.until(lambda: "out" in seen.log() and "err" in seen.log())
        await pilot.press("escape")
        await pilot.press("o")
        assert "by cpu" in seen.said()
        assert run("service", "rm", "api", "web-red").status == 0
        await seen.until(lambda: not seen.column("tasks", 0))
        await pilot.press("q")


def until(probe: Callable[[], bool]) -> None:
    while not probe():
        time.sleep(0.005)


@pytest.fixture
def follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[follow.Follower]:
    """It has neither descriptors nor anything else of the system, and tries again soon."""

    def refused(*_: object) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(follow, "AGAIN_S", 0.01)
    monkeypatch.setattr(follow, "TaskSession", refused)
    made = follow.Follower(Session(Paths(tmp_path / "state", tmp_path / "run"), refused))
    yield made
    made.stop()


@pytest.mark.timeout(60)
def test_what_the_system_refuses_is_shown_and_tried_again(follower: follow.Follower) -> None:
    follower.start()
    until(lambda: "Too many open files" in follower.picture.troubles.get("managers", ""))
    follower.picture.troubles.clear()
    until(lambda: "managers" in follower.picture.troubles)


@pytest.mark.timeout(60)
def test_a_node_that_cannot_be_read_is_tried_again_and_forgotten_with_its_tasks(
    follower: follow.Follower,
) -> None:
    follower.picture.replace([Node(id="n1")], [], [task("t1", "web", "n1", 1)])
    follower._ask_nodes()
    for _ in range(2):
        until(lambda: "Too many open files" in follower.picture.troubles.get("n1", ""))
        follower._trouble("n1", "")
    until(lambda: "n1" in follower.picture.troubles)
    with follower.lock:
        follower.picture.replace([], [], [])
    follower._ask_nodes()
    until(lambda: not follower.picture.troubles)
