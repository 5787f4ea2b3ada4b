"""`rm` of several objects: each is tried, what fails is said, and the status tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from swarmlite.errors import NotFound, SwarmliteError


def remove_each(
    refs: Iterable[str], remove: Callable[[str], object], *, force: bool = False
) -> int:
    """Remove each and print its reference; 1 if any failed. `force` excuses what is not there."""
    status = 0
    for ref in refs:
        try:
            remove(ref)
        except SwarmliteError as error:
            click.echo(str(error), err=True)
            if not (force and isinstance(error, NotFound)):
                status = 1
        else:
            click.echo(ref)
    return status
