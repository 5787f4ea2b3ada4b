"""A verb for several containers: each is tried and named, what fails is said, the status tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from swarmlite.errors import SwarmliteError


def for_each(refs: Iterable[str], do: Callable[[str], object], *, echo: bool = True) -> int:
    """Do it to each and print its reference; 1 if any failed."""
    status = 0
    for ref in refs:
        try:
            do(ref)
        except SwarmliteError as error:
            click.echo(str(error), err=True)
            status = 1
        else:
            if echo:
                click.echo(ref)
    return status
