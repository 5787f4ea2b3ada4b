"""`swarmlite login`."""

from __future__ import annotations

import sys

import click

from swarmlite.cli import client
from swarmlite.cli.image import credentials
from swarmlite.cli.image.naming import HUB
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec
from swarmlite.proto.images_pb2 import LoginRequest, LoginResponse

_WARNING = "WARNING! Using --password via the CLI is insecure. Use --password-stdin."


@click.command("login", cls=Command)
@click.option("-u", "--username", default="", help="Username.")
@click.option("-p", "--password", help="Password.")
@flag("--password-stdin", help="Take the password from stdin.")
@click.option("--token", default="", help="Of `swarmlite user token`; with swarm://MANAGER.")
@click.option("--name", default="", help="The context that a login to a swarm makes (its user).")
@click.argument("server", default="", metavar="[SERVER]")
@pass_session
def command(
    session: Session,
    username: str,
    password: str | None,
    password_stdin: bool,
    token: str,
    name: str,
    server: str,
) -> None:
    """Authenticate to a registry, or to a swarm's managers.

    A login to a swarm gets a certificate of the token's role (admin, operator or read-only) and
    makes a context of it, which is used from then on.

    \b
    Examples:
      swarmlite login registry.example:5000
      swarmlite login swarm://manager-1:2377 --token SWMLOGIN-1-...
    """
    if server.startswith("swarm://"):
        from swarmlite.cli import swarm_login

        swarm_login.login(server, token, name)
        return
    if token or name:
        raise InvalidSpec(
            "--token and --name are only valid with a swarm's address: swarm://MANAGER"
        )
    if password is not None and password_stdin:
        raise InvalidSpec("--password and --password-stdin are mutually exclusive")
    if password_stdin and not username:
        raise InvalidSpec("Must provide --username with --password-stdin")
    registry = registry_key(server)
    if password is not None:
        click.echo(_WARNING, err=True)
    username = username or _asked("Username")
    if password_stdin:
        password = sys.stdin.read().rstrip("\r\n")
    password = password if password is not None else _asked("Password", hide=True)
    if not password:
        raise InvalidSpec("password is empty")
    auth = credentials.encoded(registry, username, password)
    reply: LoginResponse = client.call(session.images.Login, LoginRequest(registry_auth=auth))
    if credentials.keep(registry, username, password, reply.identity_token):
        click.echo(
            f"WARNING! Your credentials are stored unencrypted in '{credentials.config_path()}'.",
            err=True,
        )
    click.echo(reply.status)


def _asked(what: str, *, hide: bool = False) -> str:
    if not sys.stdin.isatty():
        raise InvalidSpec(
            "cannot ask for a login without a terminal: give --username and --password-stdin"
        )
    answer: str = click.prompt(what, hide_input=hide)
    return answer


def registry_key(server: str) -> str:
    """The key of config.json for a server as it is typed; the hub for none."""
    host = server.partition("://")[2] or server
    host = host.partition("/")[0]
    hub = host in ("", "docker.io", "index.docker.io", "registry-1.docker.io")
    return HUB if hub else host
