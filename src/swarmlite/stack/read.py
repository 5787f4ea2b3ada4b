"""Reading nodes as what a key wants; everything else is an error with its place.

A string is taken for a number, a boolean and so on where it reads as one, since what comes out of a
variable is a string.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration

from swarmlite.errors import InvalidSpec
from swarmlite.model import units
from swarmlite.model.wording import any_of
from swarmlite.stack.problems import Problems
from swarmlite.stack.tree import Node, plain

_CLOSE = 0.8
"""How alike a key must be to be the one that was meant; below that a guess misleads."""
_FEW = 8
"""As many known keys as can be listed without flooding the screen."""

Subject = TypeVar("Subject")
Result = TypeVar("Result")
Handler = Callable[[Node, Subject], None]


@contextmanager
def placed(node: Node) -> Iterator[None]:
    """Errors of a notation inside get the node's place."""
    try:
        yield
    except InvalidSpec as error:
        raise node.error(str(error)) from error


def fields(node: Node, handlers: Mapping[str, Handler[Subject]], subject: Subject) -> None:
    """Hand each key of a mapping to its handler; keys that begin with x- are the user's own.

    Raises InvalidSpec once every key was handed over: all that is wrong is said.
    """
    problems = Problems()
    for key, item in mapping(node).items():
        if key.startswith("x-"):
            continue
        with problems.gather():
            if key not in handlers:
                raise unknown(item, key, handlers)
            handlers[key](item, subject)
    problems.settle()


def unknown(item: Node, key: str, known: Iterable[str]) -> InvalidSpec:
    """The error of a key that nobody knows, with the one that may have been meant."""
    words = list(known)
    near = difflib.get_close_matches(key, words, 1, _CLOSE)
    if near:
        return item.error(f"unknown key; did you mean {near[0]!r}?")
    if len(words) <= _FEW:
        return item.error(f"unknown key; expected one of {', '.join(words)}")
    return item.error("unknown key")


def mapping(node: Node) -> dict[str, Node]:
    """A mapping; nothing is an empty one."""
    if node.value is None:
        return {}
    if not isinstance(node.value, dict):
        raise node.error(f"expected a mapping, not {node.kind}")
    return node.value


def items(node: Node) -> list[Node]:
    """A list."""
    if node.value is None:
        return []
    if not isinstance(node.value, list):
        raise node.error(f"expected a list, not {node.kind}")
    return node.value


def string(node: Node) -> str:
    """A string."""
    if not isinstance(node.value, str):
        quote = " (put it in quotes)" if node.text else ""
        raise node.error(f"expected a string, not {node.kind}{quote}")
    if "\0" in node.value:
        raise node.error("a string holds no NUL")
    return node.value


def line(node: Node) -> str:
    """A string of one line that says something."""
    text = string(node)
    if not text.strip() or "\n" in text:
        raise node.error("expected a string of one line, not empty")
    return text


def line_or_nothing(node: Node) -> str:
    """A string of one line; an empty one, as of an empty variable, is the same as none."""
    if node.value is None or (isinstance(node.value, str) and not node.value.strip()):
        return ""
    return line(node)


def scalar(node: Node) -> str:
    """A string, or a number or boolean as it is written."""
    if isinstance(node.value, dict | list) or node.value is None:
        raise node.error(f"expected a string, a number or a boolean, not {node.kind}")
    return node.text


def integer(node: Node, least: int = 0, most: int = 2**63 - 1) -> int:
    """A whole number within bounds."""
    value = plain(node.value) if isinstance(node.value, str) else node.value
    if isinstance(value, bool) or not isinstance(value, int):
        raise node.error(f"expected a whole number, not {node.kind}")
    if not least <= value <= most:
        bounds = f"from {least} to {most}" if most < 2**62 else f"of at least {least}"
        raise node.error(f"expected a whole number {bounds}, not {node.text}")
    return value


def number(node: Node, least: float, most: float) -> float:
    """A number within bounds."""
    value = plain(node.value) if isinstance(node.value, str) else node.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise node.error(f"expected a number, not {node.kind}")
    if not least <= value <= most:
        raise node.error(f"expected a number from {least:g} to {most:g}, not {node.text}")
    return float(value)


def boolean(node: Node) -> bool:
    """true or false."""
    value = plain(node.value) if isinstance(node.value, str) else node.value
    if isinstance(value, str):
        value = _WORDS.get(value.lower())
    if not isinstance(value, bool):
        raise node.error(f"expected true or false, not {node.kind}")
    return value


_WORDS = {"yes": True, "y": True, "on": True, "no": False, "n": False, "off": False}
"""YAML 1.1's other words for them, where a boolean is meant."""


def duration(node: Node) -> Duration:
    """A duration such as 1m30s, not negative."""
    if not isinstance(node.value, str):
        raise node.error(f"expected a duration such as 10s or 1m30s, not {node.kind}")
    with placed(node):
        nanoseconds = units.parse_duration(node.value)
    if nanoseconds < 0:
        raise node.error("a duration is not negative")
    return units.duration(nanoseconds)


def size(node: Node) -> int:
    """A size such as 512m, in bytes."""
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        return integer(node)
    with placed(node):
        return units.parse_bytes(string(node))


def cpus(node: Node) -> int:
    """CPUs such as 0.5, in nano-CPUs."""
    with placed(node):
        return units.parse_cpus(scalar(node))


def strings(node: Node) -> list[str]:
    """A list of strings (numbers as they are written)."""
    return [scalar(item) for item in items(node)]


def string_or_strings(node: Node) -> list[str]:
    """One string or a list of them."""
    return [string(node)] if isinstance(node.value, str) else strings(node)


def command(node: Node) -> list[str]:
    """A command line split as a shell would, or a list."""
    if node.value is None:
        return []
    if not isinstance(node.value, str):
        return strings(node)
    try:
        return shlex.split(node.value)
    except ValueError as error:
        raise node.error(f"badly quoted command: {error}") from error


def pairs(node: Node) -> dict[str, str | None]:
    """A mapping of scalars, or a list of NAME=value; None for a bare name."""
    if isinstance(node.value, dict):
        return {
            key: None if item.value is None else scalar(item) for key, item in node.value.items()
        }
    if node.value is not None and not isinstance(node.value, list):
        raise node.error(f"expected a mapping or a list of NAME=value, not {node.kind}")
    result: dict[str, str | None] = {}
    for item in items(node):
        name, equals, value = scalar(item).partition("=")
        if not name:
            raise item.error("expected NAME=value")
        result[name] = value if equals else None
    return result


def labels(node: Node) -> dict[str, str]:
    """Labels: a bare name has an empty value."""
    return {name: value or "" for name, value in pairs(node).items()}


def word(node: Node, words: Mapping[str, Result]) -> Result:
    """What one of a few words stands for."""
    text = scalar(node) if node.value is not None else ""
    if text not in words:
        raise node.error(f"expected {any_of(words)}, not {json.dumps(text)}")
    return words[text]
