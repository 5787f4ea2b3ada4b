"""`stack deploy` asks for several new services at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from threading import Barrier, Event
from typing import Any

import click
import pytest

from swarmlite.cli.service.changing import Touched
from swarmlite.cli.stack import deploy
from swarmlite.cli.stack.actions import Action
from swarmlite.errors import AlreadyExists, InvalidSpec, Unavailable
from swarmlite.stack.problems import Several

WAIT_S = 60.0


def new(name: str, do: Callable[[], object] = lambda: None) -> Action:
    def doing() -> Touched:
        do()
        return name, None

    return Action("Creating", "service", name, doing)


def test_new_services_are_made_together_and_said_in_their_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    barrier = Barrier(deploy.AT_ONCE)  # none of them ends before all have begun
    names = [f"s{number}" for number in range(3 * deploy.AT_ONCE)]
    made = deploy._carried_out([new(name, lambda: barrier.wait(WAIT_S)) for name in names])
    assert [name for name, _ in made] == names
    assert capsys.readouterr().out.splitlines() == [f"Creating service {name}" for name in names]


def test_what_comes_before_and_after_them_waits_its_turn() -> None:
    done: list[str] = []
    network = Action("Creating", "network", "n", lambda: done.append("n"))

    def update() -> Touched:
        done.append("z")
        return "z", None

    last = Action("Updating", "service", "z", update)
    kept = Action("Unchanged", "service", "k", None, "id")
    actions = [network, new("a", lambda: done.append("a")), kept, last]
    assert [name for name, _ in deploy._carried_out(actions)] == ["a", "z"]
    assert done == ["n", "a", "z"]


def test_once_one_fails_no_other_begins_and_those_that_began_end() -> None:
    ended, failed = list[str](), Event()

    def fail() -> None:
        failed.set()
        raise InvalidSpec("no")

    def later(name: str) -> Callable[[], object]:
        def end() -> None:
            failed.wait(WAIT_S)
            ended.append(name)

        return end

    first = new("bad", fail)
    others = [new(name, later(name)) for name in map(str, range(2 * deploy.AT_ONCE))]
    with pytest.raises(InvalidSpec):
        list(deploy._carried_out([first, *others]))
    assert sorted(ended) == sorted(map(str, range(deploy.AT_ONCE - 1)))


def test_each_that_is_refused_is_told_with_its_name() -> None:
    both = Barrier(2)  # neither has failed before the other has begun

    def refused(error: Exception) -> Callable[[], object]:
        def fail() -> None:
            both.wait(WAIT_S)
            raise error

        return fail

    taken = AlreadyExists("port '8080' is already in use by service other")
    actions = [new("a", refused(taken)), new("b"), new("c", refused(Unavailable("no quorum")))]
    with pytest.raises(Several) as raised:
        list(deploy._carried_out(actions))
    assert raised.value.lines == [
        "service a: port '8080' is already in use by service other",
        "service c: no quorum",
    ]


def test_who_interrupts_is_told_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, interrupted, told, said = Event(), Event(), Event(), list[str]()

    def interrupt(*_: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def echo(line: str, err: bool = False) -> None:
        said.append(line)
        if err:
            told.set()

    def slow() -> None:
        begun.wait(WAIT_S)
        while not interrupted.wait(0.1):  # one that comes just before it blocks does not wake it
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        told.wait(WAIT_S)

    def actions() -> Iterator[Action]:
        yield new("quick")
        yield new("slow", slow)
        begun.set()

    monkeypatch.setattr(click, "echo", echo)
    before: Any = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(deploy._carried_out(actions()))
    finally:
        signal.signal(signal.SIGINT, before)
    assert said[-1] == "interrupted; waiting for what has begun: service slow"
