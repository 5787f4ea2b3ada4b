"""What fails costs itself only, and is tried again ever later."""

from __future__ import annotations

import asyncio

import pytest

from swarmlite.manager import isolation


async def test_what_is_kept_up_starts_over_until_it_returns_or_is_cancelled(monkeypatch):
    monkeypatch.setattr(isolation, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(isolation.log, "exception", lambda *_: None)
    tries = []

    async def fail_twice():
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("what nobody foresaw")

    await isolation.kept_up("a loop", fail_twice)
    assert len(tries) == 3

    async def wait():
        tries.append(2)
        await asyncio.Event().wait()

    waiting = asyncio.ensure_future(isolation.kept_up("another", wait))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert tries.count(2) <= 1


def test_one_object_that_fails_is_passed_over_with_a_traceback(monkeypatch):
    said = []
    monkeypatch.setattr(isolation.log, "exception", lambda text, *args: said.append(text % args))
    assert isolation.apart("task", "t1", int, "no number") is None
    assert isolation.apart("task", "t2", int, "7") == 7
    assert said == ["passed over task=t1"]
