"""What differs between two messages of one kind, field by field, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from swarmlite.model import units

MAX_TEXT = 120


@dataclass(frozen=True)
class Difference:
    """A field by its path, and its value on both sides; None where there is none."""

    path: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.path}: {self.after}"
        if self.after is None:
            return f"- {self.path}: {self.before}"
        return f"~ {self.path}: {self.before} -> {self.after}"


def differences(before: Message, after: Message, path: str = "") -> Iterator[Difference]:
    """All of them, in the order of the fields. Both messages are of one type."""
    for field in before.DESCRIPTOR.fields:
        name = f"{path}.{field.name}" if path else field.name
        first, second = getattr(before, field.name), getattr(after, field.name)
        if _is_map(field):
            yield from _of_maps(name, dict(first), dict(second))
        elif not isinstance(first, Message | str | bytes | int | float):
            yield from _of_lists(name, list(first), list(second))
        elif field.has_presence and before.HasField(field.name) != after.HasField(field.name):
            there = before.HasField(field.name)
            shown = _shown(first if there else second, field)
            yield Difference(name, shown if there else None, None if there else shown)
        elif first == second:
            continue
        elif isinstance(first, Message) and not isinstance(first, Duration):
            yield from differences(first, second, name)
        else:
            yield Difference(name, _shown(first, field) or None, _shown(second, field) or None)


def _is_map(field: Any) -> bool:
    kind = field.message_type
    return bool(kind is not None and kind.GetOptions().map_entry)


def _of_maps(
    name: str, first: Mapping[Any, Any], second: Mapping[Any, Any]
) -> Iterator[Difference]:
    for key in sorted({*first, *second}):
        if first.get(key) != second.get(key):
            before, after = (_shown(m[key]) if key in m else None for m in (first, second))
            yield Difference(f"{name}.{key}", before, after)


def _of_lists(name: str, first: Sequence[Any], second: Sequence[Any]) -> Iterator[Difference]:
    """What one side has and the other not; where only the order differs, both lists."""
    gone = [item for item in first if item not in second]
    new = [item for item in second if item not in first]
    yield from (Difference(name, _shown(item), None) for item in gone)
    yield from (Difference(name, None, _shown(item)) for item in new)
    if not gone and not new and first != second:
        before, after = (", ".join(_shown(item) for item in items) for items in (first, second))
        yield Difference(name, before, after)


_FORMS: Mapping[str, Callable[[Any], str]] = {
    "registry_auth": lambda _: "(not shown)",
    "nano_cpus": units.format_cpus,
    "memory_bytes": units.format_bytes,
    "size_bytes": units.format_bytes,
    "shm_size_bytes": units.format_bytes,
}
"""By a field's name, how people write its values; credentials they do not read at all."""


def _shown(value: Any, field: Any = None) -> str:
    if isinstance(value, Duration):
        return units.format_duration(value.ToNanoseconds())
    if isinstance(value, Message):
        parts = (f"{f.name}={_shown(v, f)}" for f, v in value.ListFields())
        return _cut(",".join(parts) or "set")
    if isinstance(value, bool):
        return str(value).lower()
    if field is not None and field.name in _FORMS:
        return _FORMS[field.name](value)
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if field is not None and field.enum_type is not None and isinstance(value, int):
        return str(field.enum_type.values_by_number[value].name).lower()
    if field is not None and field.name == "mode":
        return f"{value:04o}"
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, Sequence):
        return _cut(" ".join(_shown(item) for item in value))
    return str(value)


def _cut(text: str) -> str:
    line = text.replace("\n", "\\n")
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"
