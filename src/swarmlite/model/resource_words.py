"""How a node's own labels and generic resources are written: `gpu=4`, or `gpu=UUID1` for each.

Apart from `generic_resources` because swarmlited, which checks its flags, loads no protobuf.
"""

from __future__ import annotations

from collections.abc import Iterable

from swarmlite.errors import InvalidSpec
from swarmlite.model.numerals import decimal

MAX_WORD = 128
MAX_COUNT = 2**53 - 1
MAX_WORDS = 256
MAX_LABELS = 128


def parse(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Kinds and their values. Raises InvalidSpec for what contradicts itself, too."""
    found = [_one(text) for text in texts]
    if len(found) > MAX_WORDS:
        raise InvalidSpec(f"more than {MAX_WORDS} generic resources")
    if len(found) > len(set(found)):
        raise InvalidSpec("a generic resource is specified twice")
    for kind in {kind for kind, _ in found}:
        values = [value for other, value in found if other == kind]
        if len(values) > 1 and any(is_count(value) for value in values):
            raise InvalidSpec(f"{kind}: give one count, or names only")
    return found


def is_count(value: str) -> bool:
    """Whether a value is a number of them, and no name."""
    return value.isascii() and value.isdigit()


def labels(texts: Iterable[str]) -> dict[str, str]:
    """A node's own labels, `rack=3`, by name. Raises InvalidSpec."""
    found: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or len(text) > MAX_WORD or not text.isprintable() or " " in name:
            raise InvalidSpec(f"{text[:60]!r}: expected NAME=VALUE, for example rack=3")
        if name in found:
            raise InvalidSpec(f"the label {name} is specified twice")
        found[name] = value
    if len(found) > MAX_LABELS:
        raise InvalidSpec(f"more than {MAX_LABELS} labels")
    return found


def _one(text: str) -> tuple[str, str]:
    kind, _, value = text.partition("=")
    long = len(text) > MAX_WORD
    if not kind or not value or long or "," in value or not text.isprintable():
        raise InvalidSpec(f"{text[:60]!r}: expected KIND=COUNT or KIND=NAME, for example gpu=2")
    if is_count(value) and decimal(value, 0, MAX_COUNT) is None:
        raise InvalidSpec(f"{text[:60]!r}: a count is {MAX_COUNT} at most")
    return kind, value
