"""A flag as a row: its names, how its value parses, and what it writes into a spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from swarmlite.cli.lazy import flag
from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import ServiceSpec


@dataclass(frozen=True)
class Scalar:
    """A flag that sets one thing; the last one given wins."""

    names: tuple[str, ...]
    apply: Callable[[ServiceSpec, Any], None]
    type: Any = str
    help: str = ""

    @property
    def key(self) -> str:
        """The name of its value among click's parameters."""
        return _key(self.names)


@dataclass(frozen=True)
class Repeated:
    """A flag that collects; on update it is two, NAME-add and NAME-rm."""

    names: tuple[str, ...]
    add: Callable[[ServiceSpec, Sequence[Any]], None]
    remove: Callable[[ServiceSpec, Sequence[str]], None]
    type: Any = str
    help: str = ""

    @property
    def long(self) -> str:
        """--env, whose value is `env` on create, `env_add` and `env_rm` on update."""
        return next(name for name in self.names if name.startswith("--"))

    @property
    def key(self) -> str:
        """The name of its value among click's parameters, without add or rm."""
        return _key(self.names)


def create_options(scalars: Sequence[Scalar], repeated: Sequence[Repeated]) -> Callable[[Any], Any]:
    """All of them as options of `create`."""

    def decorate(command: Any) -> Any:
        for row in repeated:
            command = click.option(
                *row.names, row.key, multiple=True, type=row.type, help=row.help
            )(command)
        return _scalar_options(scalars, command)

    return decorate


def update_options(scalars: Sequence[Scalar], repeated: Sequence[Repeated]) -> Callable[[Any], Any]:
    """All of them as options of `update`: lists as NAME-add and NAME-rm."""

    def decorate(command: Any) -> Any:
        for row in repeated:
            add, remove = f"{row.long}-add", f"{row.long}-rm"
            command = click.option(
                remove, f"{row.key}_rm", multiple=True, help=f"Remove one: {row.help}"
            )(command)
            command = click.option(
                add,
                f"{row.key}_add",
                multiple=True,
                type=row.type,
                help=f"Add or update one: {row.help}",
            )(command)
        return _scalar_options(scalars, command)

    return decorate


def apply_scalars(spec: ServiceSpec, rows: Sequence[Scalar], values: Mapping[str, Any]) -> bool:
    """Write what was given into `spec`; whether anything was. Raises InvalidSpec."""
    given = [row for row in rows if values.get(row.key) is not None]
    for row in given:
        try:
            row.apply(spec, values[row.key])
        except ValueError as error:  # more than a field of the spec holds
            long = max(row.names, key=len)
            raise InvalidSpec(f"{long}: {values[row.key]} is out of range") from error
    return bool(given)


def apply_created(spec: ServiceSpec, rows: Sequence[Repeated], values: Mapping[str, Any]) -> None:
    """Write the lists of `create` into `spec`."""
    for row in rows:
        if values[row.key]:
            row.add(spec, values[row.key])


def apply_updated(spec: ServiceSpec, rows: Sequence[Repeated], values: Mapping[str, Any]) -> None:
    """Take out of `spec` what NAME-rm names, then put in what NAME-add gives."""
    for row in rows:
        if values[f"{row.key}_rm"]:
            row.remove(spec, values[f"{row.key}_rm"])
        if values[f"{row.key}_add"]:
            row.add(spec, values[f"{row.key}_add"])


def _key(names: Sequence[str]) -> str:
    long = next(name for name in names if name.startswith("--"))
    return long[2:].replace("-", "_")


def _scalar_options(scalars: Sequence[Scalar], command: Any) -> Any:
    for row in scalars:
        if row.type is bool:
            command = flag(*row.names, default=None, help=row.help)(command)  # type: ignore[arg-type]
        else:
            command = click.option(*row.names, row.key, type=row.type, help=row.help)(command)
    return command
