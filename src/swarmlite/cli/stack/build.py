"""`swarmlite stack build`."""

from __future__ import annotations

import click

from swarmlite.cli.build.flags import PROGRESS
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.stack import files
from swarmlite.cli.stack.building import build_all
from swarmlite.errors import InvalidSpec


@click.command("build", cls=Command)
@files.compose_option
@files.profile_option
@flag("--no-cache", help="Do everything again.")
@flag("--pull", help="Ask registries for newer base images.")
@click.option("--progress", type=click.Choice(PROGRESS), default="auto", help="How it is shown.")
@flag("-q", "--quiet", help="Suppress progress output.")
@click.argument("stack")
@click.argument("services", metavar="[SERVICE...]", nargs=-1)
@pass_session
def command(
    session: Session,
    paths: tuple[str, ...],
    no_cache: bool,
    pull: bool,
    progress: str,
    quiet: bool,
    stack: str,
    services: tuple[str, ...],
) -> None:
    """Build the images of a stack's services.

    \b
    Examples:
      swarmlite stack build -c compose.yml shop
      swarmlite stack build -c compose.yml --no-cache shop web
    """
    builds = files.stack(paths, stack).builds
    for name in services:
        if name not in {one.service for one in builds}:
            known = ", ".join(one.service for one in builds) or "none"
            raise InvalidSpec(f"service {name!r} has no build section; those that have: {known}")
    wanted = [one for one in builds if not services or one.service in services]
    shown = "quiet" if quiet else progress
    build_all(session, wanted, progress=shown, no_cache=no_cache, pull=pull)
