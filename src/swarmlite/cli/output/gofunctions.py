"""The functions of `--format` templates, and how Go prints values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from swarmlite.errors import InvalidSpec


def text(value: Any) -> str:
    """A value as Go prints it: true, [a b], map[k:v]."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        pairs = (f"{text(k)}:{text(v)}" for k, v in sorted(value.items()))
        return f"map[{' '.join(pairs)}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(text, value))}]"
    return str(value)


def truth(value: Any) -> bool:
    """Whether an `if` takes the value for true."""
    return bool(value)


def to_json(value: Any) -> str:
    """Compact JSON, keys in their order."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else value[key]
    return value


def _and(*values: Any) -> Any:
    return next((v for v in values if not truth(v)), values[-1])


def _or(*values: Any) -> Any:
    return next((v for v in values if truth(v)), values[-1])


def _pad(value: Any, before: int, after: int) -> str:
    return " " * before + text(value) + " " * after if value else ""


def _printf(form: str, *values: Any) -> str:
    plain = form.replace("%v", "%s").replace("%q", '"%s"').replace("%t", "%s")
    return plain % tuple(v if isinstance(v, int | float) else text(v) for v in values)


def _length(value: Sequence[Any] | Mapping[Any, Any] | None) -> int:
    if value is None:
        return 0
    if isinstance(value, int | float):
        raise InvalidSpec("template parsing error: len of a number")
    return len(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": to_json,
    "join": lambda items, separator: separator.join(map(text, items or ())),
    "split": lambda value, separator: value.split(separator),
    "lower": lambda value: text(value).lower(),
    "upper": lambda value: text(value).upper(),
    "title": lambda value: text(value).title(),
    "pad": _pad,
    "truncate": lambda value, length: text(value)[:length],
    "print": lambda *values: "".join(map(text, values)),
    "println": lambda *values: " ".join(map(text, values)) + "\n",
    "printf": _printf,
    "len": _length,
    "index": _index,
    "slice": lambda value, *bounds: value[slice(*bounds)] if bounds else value,
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "and": _and,
    "or": _or,
    "not": lambda value: not truth(value),
}
"""By the names that templates use."""
