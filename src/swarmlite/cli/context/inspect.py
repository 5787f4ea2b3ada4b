"""`swarmlite context inspect`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.showing import inspect_each, inspect_options
from swarmlite.client.contexts import DEFAULT, Context, Contexts


@click.command("inspect", cls=Command)
@inspect_options
@click.argument("names", nargs=-1, metavar="[CONTEXT...]")
@pass_session
def command(session: Session, names: tuple[str, ...], form: str) -> int:
    """Display detailed information on one or more contexts, else on the current one."""
    contexts = Contexts()

    def get(name: str) -> dict[str, Any]:
        if name == DEFAULT:
            return shown(Context(DEFAULT, f"unix://{session.paths.run_dir}"), "")
        return shown(contexts.get(name), str(contexts.folder(name)))

    return inspect_each(names or (session.context,), get, form)


def shown(context: Context, folder: str) -> dict[str, Any]:
    """As Docker's command shows one; no key is shown."""
    files = [f"{each}.pem" for each in sorted(context.pem)]
    return {
        "Name": context.name,
        "Metadata": {"Description": context.description} if context.description else {},
        "Endpoints": {"docker": {"Host": context.host, "SkipTLSVerify": context.skip_verify}},
        "TLSMaterial": {"docker": files} if files else {},
        "Storage": {"MetadataPath": folder or "<IN MEMORY>", "TLSPath": folder or "<IN MEMORY>"},
    }
