"""Lists that clients poll: who has one already, as it is, is not sent it again."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from operator import is_not
from typing import Generic, TypeVar

from swarmlite.proto.control_pb2 import ListServicesResponse, ListTasksResponse

Answer = TypeVar("Answer", ListServicesResponse, ListTasksResponse)

KEPT = 2_000
"""Objects of a list that is kept: a kilobyte each."""


class Polled(Generic[Answer]):
    """The last answer of one call, with its tag, and what it was made of."""

    def __init__(self, kind: type[Answer]) -> None:
        """None yet."""
        self._kind: type[Answer] = kind
        self._objects: Sequence[object] = ()
        self._rest: object = None
        self._last: Answer = kind(tag="none")

    def answer(
        self, seen: str, objects: Sequence[object], rest: object, make: Callable[[], Answer]
    ) -> Answer:
        """What `make` makes of `objects` and `rest`; only its tag, where that is `seen`.

        The objects are a view's, which replaces and never changes them; `rest` has values.
        """
        if len(objects) > KEPT:
            return make()
        same = len(objects) == len(self._objects) and rest == self._rest
        if not same or any(map(is_not, objects, self._objects)):
            self._objects, self._rest = objects, rest
            self._last = make()
            self._last.tag = secrets.token_hex(8)
        return self._kind(tag=seen) if seen == self._last.tag else self._last
