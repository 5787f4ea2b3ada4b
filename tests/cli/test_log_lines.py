"""Lines that come in parts are one line again; points in time in all of Docker's forms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from swarmlite.cli.service import logs as service_logs
from swarmlite.docker.loglines import MAX_JOINED_BYTES, Joiner
from swarmlite.errors import InvalidSpec
from swarmlite.model.moments import moment
from swarmlite.proto.control_pb2 import LOG_STDERR, LOG_STDOUT, LogMessage, LogsResponse


def part(data: bytes, seconds: int = 0) -> LogMessage:
    message = LogMessage(data=data)
    message.timestamp.seconds = seconds
    return message


def test_parts_of_two_writers_become_two_lines() -> None:
    """Each has the time of its first part."""
    joiner = Joiner()
    assert joiner.add("a", part(b"one ", 1)) is None
    assert joiner.add("b", part(b"two ", 2)) is None
    first = joiner.add("a", part(b"more\n", 3))
    second = joiner.add("b", part(b"more\n", 4))
    assert first is not None and second is not None
    assert (first.data, first.timestamp.seconds) == (b"one more\n", 1)
    assert (second.data, second.timestamp.seconds) == (b"two more\n", 2)
    assert list(joiner.rest()) == []


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    joiner = Joiner()
    chunk = b"x" * (MAX_JOINED_BYTES // 2)
    assert joiner.add("a", part(chunk)) is None
    long = joiner.add("a", part(chunk))
    assert long is not None and len(long.data) == MAX_JOINED_BYTES
    assert joiner.add("a", part(b"end")) is None
    assert [m.data for m in joiner.rest()] == [b"end"]


NOW = datetime(2024, 1, 2, 3, 4, 5, 500000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [
        ("2024-01-02T03:04:05Z", 1704164645, 0),
        ("2024-01-02T03:04:05.000000007Z", 1704164645, 7),
        ("2024-01-02T03:04:05.5+01:00", 1704161045, 500_000_000),
        ("2024-01-02T03:04Z", 1704164640, 0),
        ("2024-01-02Z", 1704153600, 0),
        ("1704164645", 1704164645, 0),
        ("1704164645.000000007", 1704164645, 7),
        ("1.5", 1, 500_000_000),
        ("10m", 1704164645 - 600, 500_000_000),
        ("1h0m0.5s", 1704164645 - 3600, 0),
        ("0", 0, 0),
    ],
)
def test_points_in_time(text: str, seconds: int, nanos: int) -> None:
    found = moment(text, NOW)
    assert (found.seconds, found.nanos) == (seconds, nanos)


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01T00:00:00Z", "1.2.3", "5x"])
def test_what_is_no_time_gets_one_line(text: str) -> None:
    with pytest.raises(InvalidSpec):
        moment(text, NOW)


def test_service_logs_joins_the_parts_of_each_task(run: Any, world: Any, monkeypatch: Any) -> None:
    """A line of 20 kB has one prefix, though another task's line came in between."""

    async def logs(self: Any, request: Any) -> Any:
        tasks = list(world.store.view.tasks)
        long, short = tasks[0], tasks[1]
        for task, data, stream in (
            (long, b"x" * 16384, LOG_STDOUT),
            (short, b"short\n", LOG_STDERR),
            (long, b"y" * 100 + b"\n", LOG_STDOUT),
            (long, b"one\ntwo\n", LOG_STDOUT),  # many lines at once
        ):
            message = LogMessage(stream=stream, data=data)
            message.context.task_id, message.context.node_id = task.id, task.node_id
            yield LogsResponse(messages=[message])

    monkeypatch.setattr(type(world.lines), "logs", logs)
    world.running = True
    run("service", "create", "-d", "--no-resolve-image", "--replicas", "2", "--name", "web", "x")
    import time

    deadline = time.monotonic() + 10
    while len(list(world.store.view.tasks)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    result = run("service", "logs", "--since", "1704164645.5", "web")
    assert result.status == 0, result.err
    assert [line.partition("| ")[2] for line in result.out.splitlines()] == [
        "x" * 16384 + "y" * 100, "one", "two",
    ]  # fmt: skip
    assert len({line.partition("| ")[0] for line in result.out.splitlines()}) == 1
    assert result.err.endswith("| short\n")


def test_service_logs_are_merged_by_time_over_nodes(run: Any, world: Any, monkeypatch: Any) -> None:
    """A node's lines come at once; those of one moment stay as they came."""
    sent = [(0, 1), (0, 4), (0, 5), (1, 2), (1, 3), (1, 5), (1, 6)]

    async def logs(self: Any, request: Any) -> Any:
        assert not request.options.plain
        tasks = list(world.store.view.tasks)
        for index, second in sent:
            message = LogMessage(stream=LOG_STDOUT, data=f"{second} of {index}\n".encode())
            message.timestamp.seconds = 1_700_000_000 + second
            message.context.task_id = tasks[index].id
            message.context.node_id = tasks[index].node_id
            yield LogsResponse(messages=[message])

    monkeypatch.setattr(type(world.lines), "logs", logs)
    world.running = True
    run("service", "create", "-d", "--no-resolve-image", "--replicas", "2", "--name", "web", "x")
    import time

    deadline = time.monotonic() + 60
    while len(list(world.store.view.tasks)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lines = run("service", "logs", "web").out.splitlines()
    assert [line.partition("| ")[2] for line in lines] == [
        "1 of 0", "2 of 1", "3 of 1", "4 of 0", "5 of 0", "5 of 1", "6 of 1",
    ]  # fmt: skip


def test_what_is_too_much_to_be_held_is_still_printed_whole(monkeypatch: Any) -> None:
    monkeypatch.setattr(service_logs, "MOST_HELD_BYTES", 2000)
    sent = []
    for number in range(100):
        line = LogMessage(data=b"x")
        line.timestamp.seconds = number // 2 if number % 2 else number // 2 + 1
        sent.append(line)
    seen = [line.timestamp.seconds for line in service_logs.in_order(sent)]
    assert sorted(seen) == seen
    assert len(seen) == 100


def test_every_line_is_as_wide_as_the_longest_name_needs(run: Any, world: Any) -> None:
    """Also those before the task whose name is the longest says anything."""
    world.running = True
    run("service", "create", "-d", "--no-resolve-image", "--replicas", "10", "--name", "web", "x")
    while "10/10" not in run("service", "ls").out:
        pass
    lines = run("service", "logs", "--no-task-ids", "web").out.splitlines()
    assert len(lines) == 10
    assert {line.index("|") for line in lines} == {len("web.10@alpha    ")}
