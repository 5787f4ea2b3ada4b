"""Versions of the API, and which fields of answers came, moved and went with them.

`docker` makes answers with the fields of every version; `shaped` takes away what a client of one
version must not see. A row's path has one name a level; `*` is each item of a list or object.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from swarmlite.errors import InvalidSpec


class Version(NamedTuple):
    """One version of the API: 1.24."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """ "1.41". Raises InvalidSpec."""
        found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text)
        if not found:
            raise InvalidSpec(f"invalid version: {text!r} is not of the form 1.41")
        return cls(int(found[1]), int(found[2]))


OLDEST, NEWEST = Version(1, 24), Version(1, 55)
"""What is served unless the settings say less."""


@dataclass(frozen=True)
class Field:
    """A field of an answer, and the first and last minor version of 1.x that has it."""

    path: str  # NetworkSettings.Networks.*.DNSNames
    since: int = 0
    until: int = 999


@dataclass(frozen=True)
class Table:
    """The fields of one object's answer that not every version has. `swarmlite.gateway.fields`."""

    object: str
    fields: tuple[Field, ...]


def table(object: str, *fields: Field) -> Table:
    """A table of these rows."""
    return Table(object, fields)


def shaped(rows: Table, value: Any, version: Version) -> Any:
    """`value`, an answer of the table's object, as a client of `version` expects it.

    Changes it in place.
    """
    for row in rows.fields:
        if not row.since <= version.minor <= row.until:
            _drop(value, row.path.split("."))
    return value


def _drop(value: Any, path: list[str]) -> None:
    name, *rest = path
    if name == "*":
        items = value.values() if isinstance(value, dict) else value
        for item in items if isinstance(items, list) else list(items or ()):
            _drop(item, rest)
    elif isinstance(value, dict):
        if not rest:
            value.pop(name, None)
        elif value.get(name) is not None:
            _drop(value[name], rest)
