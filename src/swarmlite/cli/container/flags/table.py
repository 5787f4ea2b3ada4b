"""A flag as a row: its names, how its value parses, and what it writes into a ContainerConfig."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from swarmlite.cli.lazy import flag, parsed
from swarmlite.proto.containers_pb2 import ContainerConfig


@dataclass(frozen=True)
class Row:
    """One flag. With `many` it may be repeated, and `apply` is given all values at once."""

    names: tuple[str, ...]
    apply: Callable[[ContainerConfig, Any], None]
    type: Any = str
    help: str = ""
    many: bool = False

    @property
    def key(self) -> str:
        """The name of its value among click's parameters."""
        long = next(name for name in self.names if name.startswith("--"))
        return long[2:].replace("-", "_")


def options(rows: Iterable[Row]) -> Callable[[Any], Any]:
    """All of them as options of a command."""

    def decorate(command: Any) -> Any:
        for row in rows:
            if row.type is bool:
                command = flag(*row.names, default=None, help=row.help)(command)  # type: ignore[arg-type]
            else:
                option = click.option(
                    *row.names, row.key, type=row.type, help=row.help, multiple=row.many
                )
                command = option(command)
        return command

    return decorate


def apply(config: ContainerConfig, rows: Iterable[Row], values: Mapping[str, Any]) -> None:
    """Write what was given into `config`, in the order of the rows. Raises InvalidSpec."""
    for row in rows:
        value = values.get(row.key)
        if value is not None and not (row.many and not value):
            row.apply(config, value)


def text(path: str) -> Callable[[ContainerConfig, Any], None]:
    """An `apply` that sets the field at a dotted path: "spec.user"."""
    *parents, last = path.split(".")

    def set_field(config: ContainerConfig, value: Any) -> None:
        target: Any = config
        for name in parents:
            target = getattr(target, name)
        setattr(target, last, value)

    return set_field


def extend(path: str) -> Callable[[ContainerConfig, Any], None]:
    """An `apply` that appends to the repeated field at a dotted path."""
    parents = path.split(".")

    def add(config: ContainerConfig, values: Any) -> None:
        target: Any = config
        for name in parents:
            target = getattr(target, name)
        target.extend(values)

    return add


def update(path: str) -> Callable[[ContainerConfig, Any], None]:
    """An `apply` that writes pairs into the map at a dotted path."""
    parents = path.split(".")

    def put(config: ContainerConfig, values: Any) -> None:
        target: Any = config
        for name in parents:
            target = getattr(target, name)
        target.update(dict(values))

    return put


def listed(parse: Callable[[str], Any]) -> Any:
    """The type of one value of a list."""
    return parsed(parse, "list")
