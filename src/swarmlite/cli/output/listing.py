"""What every `ls` and `ps` shares: --format, -q, --no-trunc, --filter, and printing the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from swarmlite.cli.lazy import flag, parsed
from swarmlite.cli.output import table
from swarmlite.cli.output.gofunctions import to_json
from swarmlite.cli.output.gotemplate import Template
from swarmlite.errors import InvalidSpec

Row = Mapping[str, Any]


class Labelled(dict[str, Any]):
    """A row that also answers `.Label "key"` in a template, without a field of that name."""

    def __init__(self, fields: Row, label: Callable[[str], str]) -> None:
        super().__init__(fields)
        self._label = label

    def __contains__(self, key: object) -> bool:
        return key == "Label" or super().__contains__(key)

    def __missing__(self, key: str) -> Any:
        if key == "Label":
            return self._label
        raise KeyError(key)


def labelled(fields: Row, labels: Mapping[str, str]) -> Labelled:
    """A row whose `.Label "key"` is one of `labels`, or empty."""
    return Labelled(fields, lambda key: labels.get(key, ""))


@dataclass(frozen=True)
class Listing:
    """How one kind of object is listed."""

    columns: str
    """Templates of the default table's columns, separated by tabs."""
    headers: Mapping[str, str]
    """The header of every field, also of those that the default table leaves out."""
    quiet: str = "{{.ID}}"

    def print(self, rows: Iterable[Row], form: str = "", *, quiet: bool = False) -> None:
        """Print the rows in the form that --format names ("", "table ...", "json", a template)."""
        click.echo(self.render(list(rows), form, quiet=quiet), nl=False)

    def render(self, rows: Sequence[Row], form: str = "", *, quiet: bool = False) -> str:
        """What `print` prints. Raises InvalidSpec for a template that does not fit."""
        form = form.strip().replace("\\t", "\t").replace("\\n", "\n")
        if quiet and form in ("", "table"):
            form = self.quiet
        if form == "json":
            return "".join(to_json(dict(row)) + "\n" for row in rows)
        if form and form != "table" and not form.startswith("table "):
            template = Template(form)
            return "".join(template.render(row) + "\n" for row in rows)
        columns = form.removeprefix("table").lstrip(" ") or self.columns
        templates = [Template(column) for column in columns.split("\t")]
        headers = Labelled(self.headers, lambda key: key.upper())
        lines = [[t.render(headers) for t in templates]]
        lines += [[t.render(row) for t in templates] for row in rows]
        return table.render(lines)


def filter_option(command: Any, *, short: bool = True) -> Any:
    """--filter KEY=VALUE (and -f, where that is free), as often as wanted."""
    return click.option(
        *(("-f",) if short else ()),
        "--filter",
        "filters",
        type=parsed(parse_filter, "filter"),
        multiple=True,
        help='Filter output based on conditions provided, e.g. "label=key=value".',
    )(command)


def format_option(command: Any) -> Any:
    """--format: table, json or a Go template."""
    return click.option(
        "--format",
        "form",
        default="",
        metavar="string",
        help="'table', 'table TEMPLATE', 'json' or a Go template such as '{{.Name}}'.",
    )(command)


def no_trunc_option(command: Any) -> Any:
    """--no-trunc."""
    return flag("--no-trunc", help="Don't truncate output.")(command)


def list_options(command: Any) -> Any:
    """--filter, --format and -q: what every list has."""
    quiet = flag("-q", "--quiet", help="Only display IDs.")
    return filter_option(format_option(quiet(command)))


def parse_filter(text: str) -> tuple[str, str]:
    """Key and value of "key=value". Raises InvalidSpec."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InvalidSpec("expected key=value")
    return key.strip().lower(), value.strip()


def filters_of(pairs: Iterable[tuple[str, str]]) -> Any:
    """The request's Filters of some pairs: values of one key together."""
    from swarmlite.proto.control_pb2 import Filter

    grouped: dict[str, list[str]] = {}
    for key, value in pairs:
        grouped.setdefault(key, []).append(value)
    return [Filter(key=key, values=values) for key, values in grouped.items()]
