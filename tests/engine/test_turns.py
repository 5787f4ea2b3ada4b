"""Who is made, prepared and started next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from swarmlite.engine.turns import Stage, Turns

CREATE, PREPARE, START = Stage.CREATE, Stage.PREPARE, Stage.START


class Queue:
    """Turns of one at a time, the first of them taken; who comes next is noted down."""

    def __init__(self) -> None:
        self.turns = Turns(1)
        self.order: list[str] = []
        self.free = asyncio.Event()
        self.first = asyncio.ensure_future(self.take("first", START))

    async def take(self, name: str, stage: Stage) -> None:
        async with self.turns.one(stage):
            self.order.append(name)
            await self.free.wait()

    async def come(self, *names: tuple[str, Stage]) -> Sequence[asyncio.Future[None]]:
        """They wait, in this order."""
        comers = [asyncio.ensure_future(self.take(*name)) for name in names]
        await asyncio.sleep(0)  # each runs until it waits
        return comers

    async def end(self, comers: Sequence[asyncio.Future[None]]) -> None:
        self.free.set()
        await asyncio.gather(self.first, *comers, return_exceptions=True)


async def test_who_is_nearer_to_running_goes_first_and_else_who_came_first() -> None:
    """A hundred that are to be created do not delay the start of one that is ready."""
    queue = Queue()
    comers = await queue.come(
        ("create a", CREATE), ("create b", CREATE), ("prepare", PREPARE),
        ("start a", START), ("start b", START),
    )  # fmt: skip
    assert queue.order == ["first"]
    await queue.end(comers)
    assert queue.order == ["first", "start a", "start b", "prepare", "create a", "create b"]


async def test_no_more_than_so_many_have_a_turn_and_nobody_waits_while_one_is_free() -> None:
    turns, most, now = Turns(3), 0, 0
    go = asyncio.Event()

    async def take() -> None:
        nonlocal most, now
        async with turns.one(CREATE):
            now += 1
            most = max(most, now)
            await go.wait()
            now -= 1

    takers = [asyncio.ensure_future(take()) for _ in range(10)]
    await asyncio.sleep(0)
    assert now == 3
    go.set()
    await asyncio.gather(*takers)
    assert (most, now) == (3, 0)


async def test_who_is_cancelled_while_it_waits_takes_nobodys_turn() -> None:
    queue = Queue()
    comers = await queue.come(("gone", PREPARE), ("other", CREATE))
    comers[0].cancel()
    await queue.end(comers)
    assert comers[0].cancelled()
    assert queue.order == ["first", "other"]


async def test_who_is_cancelled_once_it_was_given_the_turn_gives_it_on() -> None:
    """In the moment in which it was given, and not yet taken."""
    turns, had = Turns(1), list[str]()

    async def take(name: str) -> None:
        async with turns.one(CREATE):
            had.append(name)

    async with turns.one(START):
        gone, other = (asyncio.ensure_future(take(name)) for name in ("gone", "other"))
        await asyncio.sleep(0)  # both wait
    gone.cancel()
    await other
    assert gone.cancelled()
    async with turns.one(CREATE):  # and it is free in the end
        had.append("last")
    assert had == ["other", "last"]


async def test_a_turn_that_fails_is_given_on() -> None:
    turns = Turns(1)
    with pytest.raises(OSError, match="disk"):
        async with turns.one(START):
            raise OSError("disk")
    async with turns.one(CREATE):
        pass
