"""`swarmlite top`: of a container its processes; without one the whole cluster, live."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click

from swarmlite.cli.container.top import show
from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import FailedPrecondition

MISSING = "swarmlite top without a container needs textual: pip install 'swarmlite[top]'"
SHELL = "command -v bash >/dev/null && exec bash || exec sh"


@click.command("top", cls=Command, swallow=True)
@click.argument("container", required=False, metavar="[CONTAINER")
@click.argument("ps_args", nargs=-1, type=click.UNPROCESSED, metavar="[PS OPTIONS]]")
@pass_session
@click.pass_context
def command(
    ctx: click.Context, session: Session, container: str | None, ps_args: tuple[str, ...]
) -> None:
    """Show the cluster live, or the processes of a container or of a task on any node.

    Without CONTAINER: nodes, services and tasks with what they use, and keys to logs and a shell.

    \b
    Examples:
      swarmlite top
      swarmlite top web.1
      swarmlite top web -o pid,args
    """
    if container is not None:
        show(session, container, ps_args)
        return
    try:
        from swarmlite.cli.dashboard.screen import Dashboard
    except ModuleNotFoundError as error:
        raise FailedPrecondition(MISSING) from error
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise FailedPrecondition(
            "swarmlite top without a container draws on a terminal, and this is none: use"
            " `swarmlite service ls`, `node ls` and `stats`"
        )
    _ = session.control  # before the screen is taken: whoever has no manager is told in a line
    options = _global_options(ctx.find_root().params)
    Dashboard(session, lambda task_id: _shell(options, task_id)).run()


def _shell(options: list[str], task_id: str) -> None:
    """Until it ends; a command of its own, so that whatever happens to it, the screen stays."""
    words = [*options, "exec", "-it", task_id, "sh", "-c", SHELL]
    subprocess.run([sys.executable, "-m", "swarmlite.cli", *words], check=False)


def _global_options(values: dict[str, Any]) -> list[str]:
    """As they were given, for a command of its own."""
    from swarmlite.cli.root import root

    words = []
    for option in root.params:
        value = values.get(option.name or "")
        if not isinstance(option, click.Option) or value in (None, option.default):
            continue
        if not option.is_flag:
            words += [option.opts[-1], str(value)]
        elif value or option.secondary_opts:
            words.append((option.opts if value else option.secondary_opts)[0])
    return words
