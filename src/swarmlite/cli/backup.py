"""`swarmlite backup`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.swarm.values import passphrase_of, passphrase_option


@click.command("backup", cls=Command)
@passphrase_option("Seal the file by the passphrase on this file's first line (- is stdin).")
@flag("-f", "--force", help="Write over a file that is there.")
@click.argument("path", metavar="FILE")
@pass_session
def command(session: Session, path: str, passphrase_file: str | None, force: bool) -> None:
    """Save the cluster's state and its CA to a file, on a manager.

    \b
    Example:
      swarmlite backup --passphrase-file /root/phrase /var/backups/swarm
    """
    passphrase = passphrase_of(passphrase_file)
    reply = session.request(
        {
            "op": "backup",
            "path": str(Path(path).absolute()),
            "passphrase": passphrase,
            "force": force,
        },
        progress=lambda line: click.echo(line, file=sys.stderr),
    )
    click.echo(f"Saved cluster {reply['cluster_id']} at revision {reply['revision']} to {path}.")
    if not passphrase:
        click.echo(
            "warning: the file holds the cluster's CA and secrets, and no passphrase seals it:"
            " keep it as you would keep them",
            err=True,
        )
