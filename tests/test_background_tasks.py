"""No task dies unseen: what one raises is in the log, and the work of a room goes on."""

from __future__ import annotations

import ast
import asyncio
import logging
from pathlib import Path

import pytest

from swarmlite.engine.background import Background
from swarmlite.network import loops

SOURCE = Path(__file__).parents[1] / "src/swarmlite"


async def test_a_turn_that_fails_in_whatever_way_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that catches two classes only would freeze the host's wiring with the third."""
    monkeypatch.setattr(loops, "PAUSE_S", 0.0)
    turns = 0
    went_on = asyncio.Event()

    async def turn() -> None:
        nonlocal turns
        turns += 1
        if turns < 3:
            raise (OSError("a full table"), KeyError("a mistake of ours"))[turns - 1]
        went_on.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(loops.forever("network repair", turn))
    await went_on.wait()
    running.cancel()
    await asyncio.wait([running])
    assert "network repair failed: a full table" in caplog.text
    assert "KeyError: 'a mistake of ours'" in caplog.text


async def test_what_a_task_of_the_engine_raises_is_in_the_log_and_ends_only_that_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    background = Background()
    ended = asyncio.Event()

    async def fails() -> None:
        raise RuntimeError("nobody waits for this")

    async def goes_on() -> None:
        await ended.wait()

    with caplog.at_level(logging.ERROR):
        failing = background.spawn(fails(), "watch")
        other = background.spawn(goes_on(), "other")
        await asyncio.wait([failing])
        await asyncio.sleep(0)
    assert "task failed name=watch" in caplog.text
    assert "nobody waits for this" in caplog.text
    assert not other.done()
    await background.close()
    assert other.cancelled()


def test_no_task_is_made_and_let_go() -> None:
    """The loop keeps only weak references; what nobody holds is collected, errors and all."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
                continue
            called = node.value.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            owner = called.value if isinstance(called, ast.Attribute) else None
            held = isinstance(owner, ast.Name) and owner.id == "group"
            if name in ("create_task", "ensure_future") and not held:
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert found == []
