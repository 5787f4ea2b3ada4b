"""`inspect` of several objects: a list of JSON, or a template a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import click

from swarmlite.cli.output.gotemplate import Template
from swarmlite.cli.output.omitted import OMITTED
from swarmlite.errors import InvalidSpec, NotFound


def inspect_each(refs: Iterable[str], get: Callable[[str], dict[str, Any]], form: str = "") -> int:
    """Print each object; what is not found is said on standard error, and makes the status 1."""
    template = Template(form, omitted=OMITTED) if form and form != "json" else None
    found, status = [], 0
    for ref in refs:
        try:
            found.append(get(ref))
        except NotFound as error:
            click.echo(str(error), err=True)
            status = 1
    if template is not None:
        for item in found:
            click.echo(template.render(item))
    elif form == "json":
        click.echo(json.dumps(found, separators=(",", ":"), ensure_ascii=False))
    else:
        click.echo(json.dumps(found, indent=4, ensure_ascii=False))
    return status


def is_pretty(pretty: bool, form: str) -> bool:
    """Whether people read it: --pretty, or its word as a format. Raises InvalidSpec for both."""
    if pretty and form not in ("", "pretty"):
        raise InvalidSpec("--format is incompatible with human friendly format")
    return pretty or form == "pretty"


def pretty_each(refs: Iterable[str], text: Callable[[str], str]) -> int:
    """Print each object for people; what is not found is said, and makes the status 1."""
    status = 0
    for ref in refs:
        try:
            click.echo(text(ref))
        except NotFound as error:
            click.echo(str(error), err=True)
            status = 1
    return status


def inspect_options(command: Any) -> Any:
    """-f, --format."""
    return click.option(
        "-f", "--format", "form", default="", help="'json' or a Go template, e.g. '{{.ID}}'."
    )(command)
