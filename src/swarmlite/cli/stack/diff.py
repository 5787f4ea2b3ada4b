"""`swarmlite stack diff`: what a deployment would do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from swarmlite.cli.lazy import Command, flag, one_of
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.stack import files
from swarmlite.cli.stack.actions import Action
from swarmlite.cli.stack.deployment import Deployment

_SIGNS = {"Creating": "+", "Updating": "~", "Removing": "-"}


@click.command("diff", cls=Command)
@files.compose_option
@files.profile_option
@files.only_option
@flag("--exit-code", help="Exit with 1 if the deployment would change anything.")
@flag("--prune", help="As if services that are no longer referenced were pruned.")
@click.option(
    "--resolve-image",
    type=one_of(always="always", changed="changed", never="never"),
    default="always",
    help='Query the registry to resolve image digests ("always", "changed", "never").',
)
@click.argument("stack")
@pass_session
def command(session: Session, /, stack: str, paths: tuple[str, ...], **values: Any) -> int:
    """Show what a deployment of the stack would make, change and remove.

    \b
    Examples:
      swarmlite stack diff -c compose.yml shop
      swarmlite stack diff --exit-code --prune -c compose.yml shop
    """
    loaded = files.stack(paths, stack)
    deployment = Deployment(session, loaded, resolve=values["resolve_image"], send_auth=False)
    deployment.check()
    actions = deployment.plan(prune=values["prune"])
    changes = show(actions, () if values["prune"] else deployment.left())
    return 1 if changes and values["exit_code"] else 0


def show(actions: Iterable[Action], left: Sequence[str]) -> int:
    """Print them, a line each and one a field; how many there are. `left`: services that stay."""
    count = 0
    for action in actions:
        sign = _SIGNS.get(action.verb)
        if sign is None:
            continue
        count += 1
        effect = ""
        if action.kind == "service" and sign == "~":
            effect = " (its tasks are replaced)" if action.restarts else " (no task is replaced)"
        click.echo(f"{sign} {action.kind} {action.name}{effect}")
        for difference in action.differences:
            click.echo(f"    {difference}")
    if not count:
        click.echo("Nothing would change.")
    for name in left:
        click.echo(f"service {name} is not in the file: it stays, --prune removes it", err=True)
    return count
