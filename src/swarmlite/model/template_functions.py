"""The functions of Go's text/template, and how Go prints values. Bounded by their caller."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from swarmlite.errors import InvalidSpec

Value = Any
"""None, bool, int, float, str, or a mapping of names to such."""
_VERB = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>\d{0,3})(?:\.(?P<precision>\d{0,3}))?(?P<verb>.)"
)


def text(value: Value) -> str:
    """A value as Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{text(item)}' for key, item in sorted(value.items()))}]"
    return str(value)


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if isinstance(value, Mapping) and isinstance(key, str):
            value = value.get(key, "")
        elif isinstance(value, str) and isinstance(key, int) and 0 <= key < len(value):
            value = ord(value[key])
        else:
            raise InvalidSpec(f"index: {text(key)[:40]!r} is out of range, or of another type")
    return value


def _slice(value: Value, *bounds: Value) -> Value:
    good = all(isinstance(b, int) and 0 <= b <= len(value) for b in bounds)
    if not isinstance(value, str) or len(bounds) > 2 or not good or list(bounds) != sorted(bounds):
        raise InvalidSpec("slice: expected a text and numbers within it")
    first, last = [*bounds, 0][0], bounds[1] if len(bounds) == 2 else len(value)
    return value[first:last]


def _length(value: Value) -> int:
    if not isinstance(value, str | Mapping):
        raise InvalidSpec("len: expected a text or a mapping")
    return len(value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else len(value)


def _comparable(name: str, one: Value, other: Value) -> None:
    kinds = [int if type(v) is float else type(v) for v in (one, other)]
    if kinds[0] is not kinds[1] or isinstance(one, Mapping):
        raise InvalidSpec(f"{name}: incompatible types for comparison")


def _eq(first: Value, *others: Value) -> bool:
    if not others:
        raise InvalidSpec("eq: missing argument for comparison")
    for other in others:
        _comparable("eq", first, other)
    return first in others


def _ordered(name: str, holds: Callable[[Value, Value], bool]) -> Callable[[Value, Value], bool]:
    def compare(one: Value, other: Value) -> bool:
        _comparable(name, one, other)
        return holds(one, other)

    return compare


def _print(*values: Value) -> str:
    """Blanks between two values of which neither is a text."""
    parts: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(text(value))
    return "".join(parts)


def _printf(form: Value, *values: Value) -> str:
    left = list(values)

    def one(match: re.Match[str]) -> str:
        verb = match["verb"]
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        return _padded(_verb(match, left.pop(0)), match)

    made = _VERB.sub(one, text(form))
    extra = ", ".join(f"{type(v).__name__}={text(v)}" for v in left)
    return f"{made}%!(EXTRA {extra})" if left else made


def _verb(match: re.Match[str], value: Value) -> str:
    verb, precision = match["verb"], match["precision"]
    number = isinstance(value, int) and not isinstance(value, bool)
    if verb in "sv" or (verb == "t" and isinstance(value, bool)):
        shown = text(value)
        return shown[: int(precision or 0)] if precision is not None else shown
    if verb == "q":
        return '"' + text(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if verb in "dxXob" and number:
        return format(value, ("+" if "+" in match["flags"] else "") + verb)
    if verb in "xX" and isinstance(value, str):
        shown = value.encode("utf-8", "surrogateescape").hex()
        return shown.upper() if verb == "X" else shown
    if verb in "feg" and (number or isinstance(value, float)):
        return format(float(value), f".{precision or 6}{verb}")
    return f"%!{verb}({type(value).__name__}={text(value)})"


def _padded(shown: str, match: re.Match[str]) -> str:
    width = int(match["width"] or 0)
    if "-" in match["flags"]:
        return shown.ljust(width)
    if "0" in match["flags"] and match["verb"] in "dxXob":
        return shown.zfill(width)
    return shown.rjust(width)


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "index": _index,
    "slice": _slice,
    "len": _length,
    "not": lambda value: not value,
    "eq": _eq,
    "ne": lambda one, other: not _eq(one, other),
    "lt": _ordered("lt", lambda a, b: a < b),
    "le": _ordered("le", lambda a, b: a <= b),
    "gt": _ordered("gt", lambda a, b: a > b),
    "ge": _ordered("ge", lambda a, b: a >= b),
    "print": _print,
    "println": lambda *values: " ".join(map(text, values)) + "\n",
    "printf": _printf,
}
LAZY = ("and", "or")
"""They stop at the first value that decides."""
