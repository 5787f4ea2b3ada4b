"""A user's open streams end once the user may no longer have them."""

from __future__ import annotations

import asyncio

import pytest

from swarmlite.errors import PermissionDenied, Unavailable
from swarmlite.manager import auth


async def test_what_runs_ends_with_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "RECHECK_S", 0.01)
    answers = iter([None, Unavailable("no cluster yet"), None, PermissionDenied("user removed")])
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if error := next(answers):
            raise error

    async with asyncio.timeout(60):
        with pytest.raises(PermissionDenied, match="user removed"):
            async with auth._while_it_holds(check):
                await asyncio.Event().wait()
    assert asked == 4
    task = asyncio.current_task()
    assert task is not None and not task.cancelling()


async def test_an_end_from_elsewhere_is_left_alone() -> None:
    async def wait() -> None:
        async with auth._while_it_holds(lambda: None):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
