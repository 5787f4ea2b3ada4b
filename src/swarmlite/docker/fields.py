"""What a client sent as JSON, read field by field: keys in whatever case, wrong types by name.

As Go reads it: `null` and an absent key are the zero value, and unknown keys are ignored. Errors
are InvalidSpec with the path of the field: "HostConfig.Memory: expected a number, not a string".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from swarmlite.errors import InvalidSpec

_NAMES = {bool: "a boolean", str: "a string", int: "a number", float: "a number"}
MAX_INT = 2**63 - 1


class Fields:
    """One JSON object."""

    def __init__(self, value: Mapping[str, Any], path: str = "") -> None:
        """`path` is where it stands in the whole, for errors."""
        self._value, self._path = value, path
        self._keys: dict[str, str] = {}
        for key in value:
            # An exact key later is Go's choice among several that differ by case only.
            self._keys[key.lower()] = key

    @classmethod
    def of(cls, value: Any, path: str = "") -> Fields:
        """The object; `null` is an empty one. Raises InvalidSpec for anything else."""
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise InvalidSpec(f"{path or 'request body'}: expected an object, not {kind(value)}")
        return cls(value, path)

    def raw(self, key: str) -> Any:
        """As it came; None when it is absent."""
        if key in self._value:
            return self._value[key]
        found = self._keys.get(key.lower())
        return None if found is None else self._value[found]

    def has(self, key: str) -> bool:
        """Whether it is there and not null."""
        return self.raw(key) is not None

    def path(self, key: str) -> str:
        """How errors name a field of this object."""
        return f"{self._path}.{key}" if self._path else key

    def wrong(self, key: str, message: str) -> InvalidSpec:
        """An error of this field, to be raised."""
        return InvalidSpec(f"{self.path(key)}: {message}")

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self.raw(key)
        return default if value is None else self._checked(key, value, str)

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean."""
        value = self.raw(key)
        return default if value is None else self._checked(key, value, bool)

    def number(self, key: str, default: int = 0) -> int:
        """An integer of 64 bits; 1.0 is one."""
        value = self.raw(key)
        return default if value is None else whole(value, self.path(key))

    def real(self, key: str, default: float = 0.0) -> float:
        """A number with a fraction."""
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, f"expected a number, not {kind(value)}")
        if not math.isfinite(value):  # which Go's JSON does not have
            raise self.wrong(key, f"{value} is not a number")
        return float(value)

    def texts(self, key: str) -> list[str]:
        """A list of strings."""
        return [
            checked(item, str, f"{self.path(key)}[{index}]")
            for index, item in enumerate(self.items(key))
        ]

    def words(self, key: str) -> list[str]:
        """A list of strings, or one string: Cmd and Entrypoint may be either."""
        value = self.raw(key)
        return [value] if isinstance(value, str) else self.texts(key)

    def items(self, key: str) -> list[Any]:
        """A list of whatever."""
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(key, f"expected a list, not {kind(value)}")
        return value

    def object(self, key: str) -> Fields:
        """An object; an empty one when it is absent."""
        return Fields.of(self.raw(key), self.path(key))

    def objects(self, key: str) -> list[Fields]:
        """A list of objects."""
        return [
            Fields.of(item, f"{self.path(key)}[{index}]")
            for index, item in enumerate(self.items(key))
        ]

    def mapping(self, key: str) -> dict[str, str]:
        """Strings by string, their keys as they came: labels, options."""
        value = self.raw(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.wrong(key, f"expected an object, not {kind(value)}")
        return {
            name: "" if item is None else checked(item, str, f"{self.path(key)}.{name}")
            for name, item in value.items()
        }

    def entries(self, key: str) -> Iterator[tuple[str, Any, str]]:
        """Each name of an object as it came, its value, and its path for errors."""
        value = self.raw(key)
        if value is None:
            return
        if not isinstance(value, Mapping):
            raise self.wrong(key, f"expected an object, not {kind(value)}")
        for name, item in value.items():
            yield name, item, f"{self.path(key)}.{name}"

    def _checked(self, key: str, value: Any, wanted: type[Any]) -> Any:
        return checked(value, wanted, self.path(key))

    def __bool__(self) -> bool:
        return bool(self._value)


def checked(value: Any, wanted: type[Any], path: str) -> Any:
    """The value, of that type. Raises InvalidSpec."""
    if not isinstance(value, wanted):
        raise InvalidSpec(f"{path}: expected {_NAMES[wanted]}, not {kind(value)}")
    if wanted is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:  # halves of pairs, which JSON can say and UTF-8 not
            raise InvalidSpec(f"{path}: is not valid Unicode") from error
    return value


def whole(value: Any, path: str) -> int:
    """An integer of 64 bits. Raises InvalidSpec."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidSpec(f"{path}: expected a number, not {kind(value)}")
    if isinstance(value, float) and not value.is_integer():
        raise InvalidSpec(f"{path}: expected a whole number, not {value}")
    if not -MAX_INT - 1 <= value <= MAX_INT:
        raise InvalidSpec(f"{path}: {value} is out of range")
    return int(value)


def kind(value: Any) -> str:
    """What a JSON value is, for people."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list) else _NAMES.get(type(value), "something else")
