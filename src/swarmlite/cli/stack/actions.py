"""What a deployment does, one thing each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from swarmlite.stack.difference import Difference


@dataclass(frozen=True)
class Action:
    """One thing that a deployment does; `do` answers Touched for a service that it writes.

    `verb` is "" where nothing is said of it, as of a secret whose data only the managers compare.
    """

    verb: str
    kind: str
    name: str
    do: Callable[[], Any] | None
    id: str = ""
    differences: tuple[Difference, ...] = ()
    restarts: bool = False

    def __str__(self) -> str:
        of = f" (id: {self.id})" if self.kind == "service" and self.id else ""
        return f"{self.verb} {self.kind} {self.name}{of}"
