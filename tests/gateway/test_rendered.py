"""JSON that lists keep: what it was made of decides, and no more than a bounded amount stays."""

from __future__ import annotations

import json
from typing import Any

from swarmlite.gateway.rendered import Last, Rendered, array, entries, with_fields
from swarmlite.proto.control_pb2 import ListTasksResponse
from swarmlite.proto.objects_pb2 import Task


class Maker:
    """Makes JSON of a task, and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, task: Task, also: object = None) -> Any:
        self.made += 1
        return {"ID": task.id, "Slot": task.slot, "Also": also}


def asked(kept: Rendered, make: Maker, task: Task, also: str = "") -> Any:
    return json.loads(kept.json(task, also, lambda: make(task, also)))


def test_an_object_s_json_is_made_once_and_again_when_anything_of_it_changed() -> None:
    kept, make = Rendered(), Maker()
    for _ in range(3):
        assert asked(kept, make, Task(id="a", slot=1)) == {"ID": "a", "Slot": 1, "Also": ""}
    assert make.made == 1
    assert asked(kept, make, Task(id="a", slot=2))["Slot"] == 2
    assert asked(kept, make, Task(id="a", slot=2), "1.24")["Also"] == "1.24"
    assert asked(kept, make, Task(id="a", slot=1))["Slot"] == 1
    assert make.made == 3


def test_what_is_kept_is_bounded_and_what_was_asked_for_last_stays() -> None:
    kept, make = Rendered(kept_bytes=20_000), Maker()
    for number in range(1000):
        asked(kept, make, Task(id=f"{number:040}"))
        asked(kept, make, Task(id="asked for again and again"))
    assert make.made <= 1001
    asked(kept, make, Task(id=f"{0:040}"))
    assert make.made == 1002
    assert len(kept._young) + len(kept._old) < 300


def test_lists_are_whole_json_with_a_newline_behind() -> None:
    texts = [with_fields(b'{"a":1}', {"b": "\u00e9"}), b"{}"]
    assert array(texts).endswith(b"]\n")
    assert json.loads(array(texts)) == [{"a": 1, "b": "\u00e9"}, {}]
    assert array([]) == b"[]\n"


def test_a_list_s_message_is_taken_apart_without_being_read() -> None:
    """Entries of every length, also of none, and what comes behind them."""
    tasks = [Task(id="x" * length) for length in (0, 1, 125, 126, 127, 16_381, 70_000)]
    found, rest = entries(ListTasksResponse(tasks=tasks, tag="t").SerializeToString())
    assert [Task.FromString(entry) for entry in found] == tasks
    assert ListTasksResponse.FromString(rest).tag == "t"
    assert entries(b"") == ([], b"")


def test_a_list_that_was_made_otherwise_is_asked_for_as_a_whole() -> None:
    """A client of another version, or one that wants no counts, has not seen it."""
    kept = Last()
    assert kept.seen((True, True)) == ("", b"")
    kept.keep("tag", (True, True), b"[]\n")
    assert kept.seen((True, True)) == ("tag", b"[]\n")
    assert kept.seen((False, True)) == ("", b"")
