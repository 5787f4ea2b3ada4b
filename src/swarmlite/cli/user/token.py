"""`swarmlite user token`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag, one_of
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.swarm.join_token import manager_addr
from swarmlite.cli.swarm.values import seconds_option
from swarmlite.manager.ca import logins
from swarmlite.proto.control_pb2 import MakeLoginTokenRequest, MakeLoginTokenResponse

_TEXT = """To log in as {name} ({word}), run the following command within {valid}:

    swarmlite login swarm://{addr} --token {token}
"""


@click.command("token", cls=Command)
@click.option(
    "--role",
    type=one_of(**{word: word for word in logins.ROLES}),
    default="read-only",
    show_default=True,
    help='What the user may: "admin" all, "operator" services and what they use, "read-only" look.',
)
@seconds_option("--valid", "How long the token may be used (1h).")
@flag("-q", "--quiet", help="Only display the token.")
@click.argument("name", metavar="NAME")
@pass_session
def command(session: Session, /, name: str, role: str, valid: float | None, quiet: bool) -> None:
    """Print a token by which somebody logs in, once, and gets a certificate of this role.

    Whoever may create services may mount a node's files, so an operator is to be trusted with the
    nodes all but as much as an admin, who besides may change the swarm itself.

    \b
    Examples:
      swarmlite user token --role operator anna
      swarmlite user token --valid 24h -q dashboard
    """
    valid_s = int(valid or logins.HOUR_S)
    request = MakeLoginTokenRequest(name=name, role=_number(role), valid_s=max(valid_s, 1))
    reply: MakeLoginTokenResponse = client.call(session.control.MakeLoginToken, request)
    if quiet:
        click.echo(reply.token)
        return
    addr, shown = manager_addr(session), f"{valid_s} s" if valid_s % 60 else f"{valid_s // 60} min"
    click.echo(_TEXT.format(name=name, word=role, valid=shown, addr=addr, token=reply.token))


def _number(word: str) -> Any:
    return logins.ROLES[word]
