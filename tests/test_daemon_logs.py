"""Logs as objects: a message's ids are fields, whatever the arguments are."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from swarmlite import logs


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged as JSON, through the root of a logging that is put back afterwards."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    kept = logging.getLogger("asyncio").level
    monkeypatch.setenv(logs.FORMAT_VARIABLE, "json")
    monkeypatch.setenv(logs.LEVEL_VARIABLE, "warning")
    monkeypatch.setattr(logs, "node_id", "n1")
    stream = io.StringIO()
    root.handlers = []
    logs.begin(stream)
    yield stream
    root.handlers = before
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(kept)


def test_ids_of_a_message_are_fields(said: io.StringIO) -> None:
    log = logging.getLogger("swarmlite.x")
    log.info("below the level")
    log.warning('%s%% of "x" from=%d task=%s seconds=%.1f', 5, 3, "t=1 node=evil", 2.25)
    (line,) = said.getvalue().splitlines()
    found = json.loads(line)
    assert found["message"] == '5% of "x" from=3 task=t=1 node=evil seconds=2.2'
    assert (found["from"], found["task"], found["seconds"]) == (3, "t=1 node=evil", 2.25)
    assert (found["level"], found["logger"], found["node"]) == ("warning", "swarmlite.x", "n1")


def test_an_exception_is_in_its_object(said: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("x").exception("failed node=%s", "n2")
    (line,) = said.getvalue().splitlines()
    found = json.loads(line)
    assert found["node"] == "n2"
    assert "ValueError: two\nlines" in found["error"]
