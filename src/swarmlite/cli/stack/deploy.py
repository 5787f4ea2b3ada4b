"""`swarmlite stack deploy`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import Any

import click

from swarmlite.cli.lazy import Command, flag, one_of
from swarmlite.cli.service.changing import Touched
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.stack import files
from swarmlite.cli.stack.actions import Action
from swarmlite.cli.stack.deployment import Deployment
from swarmlite.errors import SwarmliteError
from swarmlite.stack.problems import Several

NEW = ("service", "Creating")
AT_ONCE = 8
"""New services that are asked for together: the managers' loops then write for several at once."""

Running = deque[tuple[Action, Future[Touched]]]

RESOLVE_IMAGE = click.option(
    "--resolve-image",
    type=one_of(always="always", changed="changed", never="never"),
    default="always",
    help='Query the registry to resolve image digests ("always", "changed", "never").',
)


@click.command("deploy", cls=Command)
@files.compose_option
@files.profile_option
@files.only_option
@flag("-d", "--detach", default=True, help="Exit immediately instead of waiting (true).")
@flag("--build", default=True, help="Build what the build sections say first (true).")
@flag("--dry-run", help="Print what would be made, changed and removed, and change nothing.")
@flag("--prune", help="Prune services that are no longer referenced.")
@flag("-q", "--quiet", help="Suppress progress output.")
@RESOLVE_IMAGE
@flag("--with-registry-auth", help="Send registry authentication details to Swarm agents.")
@click.argument("stack")
@pass_session
def command(session: Session, /, stack: str, paths: tuple[str, ...], **values: Any) -> None:
    """Deploy a new stack or update an existing stack.

    \b
    Examples:
      swarmlite stack deploy -c compose.yml shop
      swarmlite stack deploy -c compose.yml -c production.yml --prune --detach=false shop
      swarmlite stack deploy -c compose.yml --dry-run shop
      docker compose config | swarmlite stack deploy -c - shop
    """
    loaded = files.stack(paths, stack)
    deployment = Deployment(
        session,
        loaded,
        resolve=values["resolve_image"],
        send_auth=values["with_registry_auth"],
    )
    deployment.check()
    if values["build"] and values["dry_run"]:
        for one in loaded.builds:
            click.echo(f"Building image {one.image} for service {one.service}")
    elif values["build"] and loaded.builds:
        from swarmlite.cli.stack.building import build_all

        shown = "quiet" if values["quiet"] else "auto"
        deployment.run_what_was_built(build_all(session, loaded.builds, progress=shown))
    actions = deployment.plan(prune=values["prune"])
    if values["dry_run"]:
        from swarmlite.cli.stack import diff

        diff.show(actions, deployment.left() if not values["prune"] else ())
        return
    touched = list(_carried_out(actions))
    if values["detach"]:
        return
    from swarmlite.cli.service.progress import converge_all

    converge_all(session, touched, quiet=values["quiet"])


def _carried_out(actions: Iterable[Action]) -> Iterator[Touched]:
    """What they touched, in their order, which is kept: only new services are made together."""
    for new, group in groupby(actions, lambda action: (action.kind, action.verb) == NEW):
        if new:
            yield from _together(group)
        else:
            yield from (done for action in group if (done := _done(action)) is not None)


def _together(actions: Iterable[Action]) -> Iterator[Touched]:
    """Once one fails no other begins, and those that have begun end first.

    Raises Several, with a line for each that failed.
    """
    running: Running = deque()
    failed: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for action in actions:
                if len(running) == AT_ONCE:
                    yield from _ended(running, failed)
                if failed:
                    break
                assert action.do is not None
                click.echo(str(action))
                running.append((action, pool.submit(action.do)))
            while running:
                yield from _ended(running, failed)
        except KeyboardInterrupt:
            # They have been asked for: the managers go on with them, whoever waits here.
            if left := [action.name for action, future in running if not future.done()]:
                said = f"interrupted; waiting for what has begun: service {', '.join(left)}"
                click.echo(said, err=True)
            raise
    if failed:
        raise Several(failed)


def _ended(running: Running, failed: list[str]) -> Iterator[Touched]:
    """What the first of them touched, once it has ended; a line to `failed` if it was refused."""
    action, future = running[0]
    error = future.exception()
    running.popleft()
    if isinstance(error, SwarmliteError):
        failed.append(f"{action.kind} {action.name}: {error}")
    else:
        yield future.result()


def _done(action: Action) -> Touched | None:
    """Say it, and do it."""
    if action.verb:
        click.echo(str(action))
    result = action.do() if action.do is not None else None
    written = action.kind == "service" and action.verb in ("Creating", "Updating")
    return result if written else None
