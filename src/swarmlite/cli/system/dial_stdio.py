"""`swarmlite system dial-stdio`: standard input and output to this host's node.

What `ssh HOST docker system dial-stdio` runs there, for contexts of the form ssh://HOST.
"""

from __future__ import annotations

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.session import Session, pass_session
from swarmlite.client import dialling


@click.command("dial-stdio", cls=Command)
@pass_session
def command(session: Session, /) -> None:
    """Proxy standard input and output to Docker's API of this host."""
    dialling.dial(session.paths)
