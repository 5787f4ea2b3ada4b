"""What is wrong with a Dockerfile: all of it, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swarmlite.errors import InvalidSpec


@dataclass(frozen=True, order=True)
class Problem:
    """At a line, counted from 1."""

    line: int
    text: str


class BadDockerfile(InvalidSpec):
    """Every problem of one file; its text has a line for each: NAME:LINE: what, what is right."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.name = name
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(f"{name}:{one.line}: {one.text}" for one in self.problems))


class Wrong(Exception):
    """One problem, on its way to whoever knows the line."""
