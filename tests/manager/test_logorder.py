"""Followed lines of several nodes: in the order of their times, and none waits for long."""

from __future__ import annotations

import random

import pytest

from swarmlite.manager import logorder
from swarmlite.manager.logorder import (
    HISTORY_S,
    LINE_BYTES,
    MAX_HELD_BYTES,
    WINDOW_S,
    Window,
)
from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT, LogMessage


def line(at: float, text: str = "", *, task: str = "one", stream: int = LOG_STDOUT) -> LogMessage:
    made = LogMessage(stream=stream, data=(text or f"{at:g}").encode())  # type: ignore[arg-type]
    made.context.task_id = task
    made.timestamp.seconds, made.timestamp.nanos = int(at), int(at % 1 * 1e9)
    return made


def texts(lines: list[LogMessage]) -> list[str]:
    return [each.data.decode() for each in lines]


def live() -> Window:
    """One whose history has come."""
    window = Window(now=0)
    window.add([line(0, "old")], now=0)
    assert texts(window.due(WINDOW_S)) == ["old"]
    return window


def test_a_line_that_comes_a_moment_late_stands_where_its_time_says() -> None:
    window = live()
    window.add([line(12)], now=10)
    window.add([line(11, task="two")], now=10 + WINDOW_S / 2)
    assert window.due(10 + WINDOW_S / 2) == []
    assert texts(window.due(10 + WINDOW_S)) == ["11", "12"]
    assert window.wait_s(10 + WINDOW_S) is None


def test_no_line_waits_for_longer_than_the_window_while_others_come() -> None:
    """Those that are newer than it wait for their own."""
    window = live()
    now, shown = 10.0, []
    for number in range(100):
        now += WINDOW_S / 4
        window.add([line(now, str(number), task=str(number % 3))], now)
        shown += texts(window.due(now))
        assert len(shown) >= number - 4
    assert shown == [str(number) for number in range(len(shown))]


def test_what_there_was_before_waits_until_all_of_it_has_come() -> None:
    """Though its first lines came long ago."""
    window = Window(now=0)
    for step in range(5):
        window.add([line(100 - step, task=str(step))], now=step * WINDOW_S * 0.9)
        assert window.due(step * WINDOW_S * 0.9) == []
    assert texts(window.due(now=WINDOW_S * 5)) == ["96", "97", "98", "99", "100"]


def test_lines_that_never_stop_are_not_held_for_longer_than_a_history_takes() -> None:
    window = Window(now=0)
    now = 0.0
    while now < HISTORY_S:
        assert window.due(now) == []
        window.add([line(now, task=str(now))], now)
        assert (window.wait_s(now) or 0) <= WINDOW_S + 1e-6
        now += WINDOW_S / 2
    assert window.due(HISTORY_S)


def test_parts_of_one_writer_stay_in_their_order_though_its_clock_stepped_back() -> None:
    window = live()
    window.add([line(50, "a "), line(40, "line"), line(45, "else", stream=LOG_STDERR)], now=10)
    window.add([line(42, "two", task="two")], now=10)
    assert texts(window.due(now=11)) == ["two", "else", "a ", "line"]


def test_too_much_is_not_held() -> None:
    """The oldest go first, and all in order."""
    window = Window(now=0)
    share = MAX_HELD_BYTES // 10
    for number in reversed(range(12)):
        window.add([line(number, f"{number:02}" + "x" * share, task=str(number))], now=0)
    shown = [text[:2] for text in texts(window.due(now=0))]
    assert shown == [f"{number:02}" for number in range(6)]
    assert [text[:2] for text in texts(window.due(now=1))] == [f"{n:02}" for n in range(6, 12)]


def test_lines_that_always_come_too_fast_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Empty ones too, which are no bytes, and those of tasks that come and go."""
    monkeypatch.setattr(logorder, "MAX_HELD_BYTES", 50 * LINE_BYTES)
    window = live()
    for number in range(1, 10):
        lines = [line(number, task=f"{number}/{each}") for each in range(100)]
        for each in lines:
            each.data = b""
        window.add(lines, now=number)
        assert window.due(now=number)
        assert max(map(len, (window._held, window._arrivals))) <= 100
    assert window.due(now=20)
    assert not (window._held or window._arrivals or window._of_writer)


def test_nothing_is_lost_or_told_twice_however_lines_come() -> None:
    """Many random ones; of each task in its own order, and none later than a window."""
    dice = random.Random(11)
    window, now, given, shown = Window(now=0), 0.0, 0, []
    for _ in range(2000):
        now += dice.random() * WINDOW_S / 3
        for _ in range(dice.randrange(4)):
            late = dice.random() * WINDOW_S * 2
            window.add([line(1000 + now - late, str(given), task=str(dice.randrange(3)))], now)
            given += 1
        shown += window.due(now)
    shown += window.due(now + HISTORY_S + WINDOW_S)
    assert sorted(map(int, texts(shown))) == list(range(given))
    for task in "012":
        own = [int(each.data) for each in shown if each.context.task_id == task]
        assert own == sorted(own)
