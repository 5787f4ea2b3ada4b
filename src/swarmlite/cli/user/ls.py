"""`swarmlite user ls`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.output import human
from swarmlite.cli.output.listing import Listing, format_option
from swarmlite.cli.session import Session, pass_session
from swarmlite.manager.ca import logins
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.proto.objects_pb2 import Cluster, User

LISTING = Listing(
    "{{.ID}}\t{{.Name}}\t{{.Role}}\t{{.IssuedAt}}\t{{.ExpiresAt}}",
    {
        "ID": "ID",
        "Name": "NAME",
        "Role": "ROLE",
        "IssuedAt": "LOGGED IN",
        "ExpiresAt": "EXPIRES",
    },
)
_WORDS = {number: word for word, number in logins.ROLES.items()}


@click.command("ls", cls=Command)
@format_option
@flag("-q", "--quiet", help="Only display IDs.")
@pass_session
def command(session: Session, form: str, quiet: bool) -> None:
    """List users: who has logged in, with which role, and until when that holds."""
    cluster: Cluster = client.call(session.control.GetCluster, GetRequest(ref="default"))
    users = [(key, user) for key, user in cluster.users.items() if user.role in _WORDS]
    ordered = sorted(users, key=lambda item: (item[1].name, item[0]))
    LISTING.print([_row(key, user) for key, user in ordered], form, quiet=quiet)


def _row(user_id: str, user: User) -> dict[str, Any]:
    return {
        "ID": user_id,
        "Name": user.name,
        "Role": _WORDS[user.role],
        "IssuedAt": human.ago(user.issued_at),
        "ExpiresAt": f"{user.expires_at.ToDatetime():%Y-%m-%d %H:%M} UTC",
    }
