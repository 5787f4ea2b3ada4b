"""`stack deploy` asks for several new services at once."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Event

import pytest

from swarmlite.cli.stack import deploy
from swarmlite.cli.stack.actions import Action
from swarmlite.cli.stack.deployment import Touched
from swarmlite.errors import InvalidSpec

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
