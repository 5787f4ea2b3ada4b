"""What is shown while a service converges."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from swarmlite.cli.output.display import Display
from swarmlite.cli.service import progress
from swarmlite.cli.service.convergence import finished_update, look
from swarmlite.model import task_states
from swarmlite.proto.control_pb2 import ListNodesResponse, ListTasksResponse
from swarmlite.proto.objects_pb2 import Service, Task
from swarmlite.proto.types_pb2 import UpdateStatus

if TYPE_CHECKING:
    from swarmlite.cli.session import Session


def service(replicas: int = 2) -> Service:
    made = Service(id="s")
    made.spec.replicated.replicas = replicas
    return made


def task(slot: int, state: int, desired: int = task_states.RUNNING, node: str = "n") -> Task:
    made = Task(id=f"t{slot}{state}", slot=slot, node_id=node)
    made.status.state = state  # type: ignore[assignment]
    made.desired_state = desired  # type: ignore[assignment]
    return made


def test_a_bar_for_each_replica() -> None:
    view = look(
        service(), [task(1, task_states.RUNNING), task(2, task_states.PREPARING)], set(), False
    )
    assert view.lines == [
        ("overall progress", "1 out of 2 tasks"),
        ("1/2", f"running   [{'=' * 50}]"),
        ("2/2", f"preparing [{'=' * 31}>{' ' * 18}]"),
    ]
    assert not view.converged


def test_the_new_task_of_a_slot_counts_not_the_one_that_stops() -> None:
    tasks = [
        task(1, task_states.RUNNING, task_states.SHUTDOWN),
        task(1, task_states.STARTING),
        task(2, task_states.RUNNING),
    ]
    assert look(service(), tasks, set(), False).lines[0][1] == "1 out of 2 tasks"


def test_tasks_on_nodes_that_are_down_do_not_count() -> None:
    tasks = [task(1, task_states.RUNNING, node="gone"), task(2, task_states.RUNNING)]
    assert not look(service(), tasks, {"gone"}, False).converged
    assert look(service(), tasks, set(), True).lines[0][1].startswith("rolling back update: 2 out")


def test_no_bars_above_twenty_and_the_error_still() -> None:
    failing = task(1, task_states.PENDING)
    failing.status.err = "no suitable node"
    view = look(service(21), [failing], set(), False)
    assert (len(view.lines), view.errors) == (1, ["no suitable node"])


def test_a_global_service_waits_for_its_first_tasks() -> None:
    made = Service(id="s")
    getattr(made.spec, "global").SetInParent()
    view = look(made, [], set(), False)
    assert view.lines == [("overall progress", "waiting for new tasks")]
    assert not view.converged
    running = task(0, task_states.RUNNING, node="abcdefghijklmnop")
    assert look(made, [running], set(), False).lines[1][0] == "abcdefghijkl"


def test_a_job_is_done_when_its_iteration_has_completed() -> None:
    made = Service(id="s")
    made.spec.replicated_job.total_completions = 2
    made.job_status.job_iteration = 1
    done = [task(n, task_states.COMPLETE, task_states.COMPLETE) for n in (1, 2)]
    assert not look(made, done, set(), False).converged
    for item in done:
        item.job_iteration.index = 1
    assert look(made, done, set(), False).converged


def test_an_old_end_of_an_update_is_not_taken_for_ours() -> None:
    made = service()
    made.update_status.state = UpdateStatus.PAUSED
    made.update_status.message = "why"
    assert finished_update(made, made.update_status) is None
    assert finished_update(made, UpdateStatus()) == ("service update paused: why", True)
    made.update_status.state = UpdateStatus.ROLLBACK_COMPLETED
    assert finished_update(made, UpdateStatus()) == ("service rolled back: why", False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_change_in_place_on_a_terminal_and_once_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for out in (terminal, pipe):
        display = Display(out)
        display.show([("a", "1"), ("b", "1")])
        display.show([("a", "1"), ("b", "2")])
    assert pipe.getvalue() == "a: 1\nb: 1\nb: 2\n"
    assert terminal.getvalue() == (
        "\x1b[2K\ra: 1\n\x1b[2K\rb: 1\n\x1b[2A\x1b[2K\ra: 1\n\x1b[2K\rb: 2\n"
    )
    quiet = io.StringIO()
    Display(quiet, quiet=True).show([("a", "1")])
    assert quiet.getvalue() == ""


class Control:
    """A manager's API of one service that waits; counts what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def GetService(self, request: object, timeout: float) -> Service:
        self.asked.append("service")
        return service()

    def ListTasks(self, request: object, timeout: float) -> ListTasksResponse:
        self.asked.append("tasks")
        return ListTasksResponse(tasks=[task(1, task_states.PENDING)])

    def ListNodes(self, request: object, timeout: float) -> ListNodesResponse:
        self.asked.append("nodes")
        return ListNodesResponse()


def test_a_view_asks_again_only_once_the_watch_has_told_of_something() -> None:
    """Without a watch it asks each second: here, at once."""
    control = Control()
    session = cast("Session", SimpleNamespace(control=control))
    news = progress._News(session, ["s"])
    assert [news.look().fresh for _ in range(3)] == [True, False, False]
    assert control.asked == ["service", "nodes", "tasks"]
    news._events.put(None)
    news.wait(soon=False)
    assert news.look().fresh
    assert len(control.asked) == 6
    news._watches = False
    news.ask_again()
    assert news.look().fresh
    assert news._look_at < time.monotonic() + progress.LOOK_AGAIN_S


def seen(*services: Service, tasks: Sequence[Task] = ()) -> progress._Seen:
    found = progress._Seen({each.id: each for each in services}, set())
    for each in tasks:
        found.tasks[each.service_id].append(each)
    return found


class Told:
    """News that are these, one after the other."""

    def __init__(self, *seen: progress._Seen) -> None:
        self._seen = list(seen)

    def look(self) -> progress._Seen:
        return self._seen.pop(0) if len(self._seen) > 1 else self._seen[0]

    def ask_again(self) -> None:
        pass

    def wait(self, *, soon: bool) -> None:
        pass


def named(name: str, replicas: int = 1) -> Service:
    made = Service(id=f"id-{name}")
    made.spec.annotations.name = name
    made.spec.replicated.replicas = replicas
    made.spec.update.monitor.FromNanoseconds(1)
    return made


def running(of: Service) -> Task:
    made = task(1, task_states.RUNNING)
    made.service_id = of.id
    return made


def test_several_services_are_waited_for_together_and_shown_in_their_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The second has converged long before it is its turn: nothing of it is waited for again."""
    slow, quick = named("slow"), named("quick")
    first = seen(slow, quick, tasks=[running(quick)])
    last = seen(slow, quick, tasks=[running(slow), running(quick)])
    followers = [progress._Follower(each.id, UpdateStatus(), False) for each in (slow, quick)]
    news = cast("progress._News", Told(*[first] * 3, *[last] * 3))
    progress._follow(news, followers, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["slow", "overall progress: 0 out of 1 tasks"]
    assert lines.index("quick") > lines.index("verify: Service id-slow converged")
    assert lines[-2:] == [
        "overall progress: 1 out of 1 tasks", "verify: Service id-quick converged",
    ]  # fmt: skip
    assert not any(follower.error for follower in followers)


def test_who_fails_or_goes_does_not_keep_the_others_from_being_waited_for() -> None:
    bad, gone, good = named("bad"), named("gone"), named("good")
    bad.update_status.state = UpdateStatus.PAUSED
    bad.update_status.message = "a task failed"
    followers = [progress._Follower(each.id, UpdateStatus(), False) for each in (bad, gone, good)]
    there = seen(bad, gone, good)
    after = seen(bad, good, tasks=[running(good)])
    progress._follow(cast("progress._News", Told(there, after, after)), followers, quiet=True)
    errors = [(follower.name, str(follower.error)) for follower in followers]
    assert errors == [
        ("bad", "service update paused: a task failed"),
        ("gone", "service gone not found"),
        ("good", "None"),
    ]
