"""Asking managers who has an image, and for a ticket that these take."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc.aio

from swarmlite import rpc
from swarmlite.errors import PermissionDenied, SwarmliteError, Unavailable
from swarmlite.proto.dispatcher_pb2 import FindImageRequest, FindImageResponse
from swarmlite.proto.dispatcher_pb2_grpc import DispatcherStub

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0
GRACE_S = 0.5
"""For managers that are slower than one who knows a holder."""
FRESH_S = 40.0
"""A ticket is good for a minute."""
MAX_HOLDERS, MAX_EXPECTING = 8, 3


@dataclass(frozen=True)
class Candidate:
    """A node to ask; `wait` where it does not have the image yet."""

    node_id: str
    addr: str
    hostname: str = ""
    wait: bool = False

    @property
    def name(self) -> str:
        """As messages name it."""
        return self.hostname or self.node_id


@dataclass(frozen=True)
class Found:
    """Whom to ask, the best first, and with which ticket."""

    ticket: bytes
    candidates: tuple[Candidate, ...]
    at: float

    @property
    def fresh(self) -> bool:
        """Whether its ticket still holds."""
        return time.monotonic() - self.at < FRESH_S


class Finder:
    """Asks all managers: each knows what the nodes of its own sessions hold."""

    def __init__(
        self, managers: Callable[[], Iterable[str]], channel: Callable[[str], grpc.aio.Channel]
    ) -> None:
        """`managers` are addresses; `channel` opens one with mutual TLS."""
        self._managers, self._channel = managers, channel

    async def find(self, digest: str) -> Found:
        """Raises Unavailable where no manager gives a ticket, with why."""
        began = time.monotonic()
        addresses = list(self._managers())
        answers = await _gathered([self._ask(address, digest) for address in addresses])
        given = [answer for answer in answers if isinstance(answer, FindImageResponse)]
        if not given:
            raise Unavailable(f"no manager says who has it: {_why(answers)}")
        holders: dict[str, Candidate] = {}
        for answer in given:
            for one in answer.holders:
                holders.setdefault(one.node_id, Candidate(one.node_id, one.addr, one.hostname))
        expecting = [
            Candidate(one.node_id, one.addr, one.hostname, wait=True)
            for one in max((answer.expecting for answer in given), key=len)
            if one.node_id not in holders
        ]
        best = [*list(holders.values())[:MAX_HOLDERS], *expecting[:MAX_EXPECTING]]
        return Found(given[0].ticket, tuple(best), began)

    async def _ask(self, address: str, digest: str) -> FindImageResponse:
        channel = self._channel(address)
        try:
            with rpc.translated(f"manager {address}"):
                request = FindImageRequest(digest=digest)
                answer: FindImageResponse = await DispatcherStub(channel).FindImage(
                    request, timeout=TIMEOUT_S
                )
            return answer
        finally:
            await channel.close()


async def _gathered(asking: Sequence[Coroutine[Any, Any, FindImageResponse]]) -> list[object]:
    """What all answer or raise; once somebody names a holder, who is slow is not waited for."""
    tasks = [asyncio.create_task(one) for one in asking]
    pending, deadline = set(tasks), time.monotonic() + TIMEOUT_S + GRACE_S
    try:
        while pending and (left := deadline - time.monotonic()) > 0:
            done, pending = await asyncio.wait(
                pending, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            if any(not task.exception() and task.result().holders for task in done):
                deadline = min(deadline, time.monotonic() + GRACE_S)
        late = Unavailable("it does not answer in time")
        return [late if t in pending else (t.exception() or t.result()) for t in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _why(answers: Iterable[object]) -> str:
    """What counts most of several failures: a manager's own word."""
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    for error in errors:
        if not isinstance(error, SwarmliteError):
            raise error
    said = [error for error in errors if isinstance(error, PermissionDenied)] or errors
    return str(said[0]) if said else "none is known"
