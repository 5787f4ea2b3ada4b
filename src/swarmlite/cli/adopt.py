"""`swarmlite adopt`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from swarmlite.adopt.carry_out import carry_out, here, there
from swarmlite.adopt.plan import Plan, plan
from swarmlite.adopt.source import Source
from swarmlite.cli import client
from swarmlite.cli.confirming import confirm
from swarmlite.cli.image.credentials import registry_auth
from swarmlite.cli.lazy import Command, Failed, flag
from swarmlite.cli.session import Session, pass_session
from swarmlite.errors import InvalidSpec

DEFAULT = "unix:///var/run/docker.sock"


@click.command("adopt", cls=Command)
@click.option("--from", "source", help="The swarm's API: unix://, tcp:// or ssh:// ($DOCKER_HOST).")
@click.option("--tls", metavar="DIR", help="ca.pem, cert.pem, key.pem ($DOCKER_CERT_PATH).")
@click.option("--secrets", metavar="DIR", help="Files with the data of secrets, by their names.")
@flag("--dry-run", help="Show what would be made, and make nothing.")
@flag("--with-registry-auth", help="Send registry authentication details to swarm agents.")
@flag("-f", "--force", help="Do not prompt for confirmation.")
@pass_session
def command(session: Session, /, source: str | None, **values: Any) -> None:
    """Make what a Docker Swarm has here: networks, secrets, configs, services, node labels.

    \b
    Example:
      swarmlite adopt --from ssh://root@192.0.2.30 --dry-run
    """
    address = source or os.environ.get("DOCKER_HOST") or DEFAULT
    secure = os.environ.get("DOCKER_TLS_VERIFY") and os.environ.get("DOCKER_CERT_PATH")
    other = Source.at(address, values["tls"] or secure or None)
    folder = Path(values["secrets"]) if values["secrets"] else None
    if folder is not None and not folder.is_dir():
        raise InvalidSpec(f"--secrets {folder}: is not a folder")
    control = session.control
    ask = sys.stdin.isatty() and not values["dry_run"]
    wanted = plan(there(other), here(control, client.call), lambda name: _data(folder, name, ask))
    for line in shown(wanted, address):
        click.echo(line)
    if values["dry_run"] or wanted.empty:
        return
    confirm("This will make all of the above in this cluster.", force=values["force"], what="adopt")
    if values["with_registry_auth"]:
        for service in wanted.services:
            if auth := registry_auth(service.task.container.image):
                service.task.container.pull_options.registry_auth = auth
    failed = carry_out(wanted, control, client.call, lambda what: click.echo(f"made {what}"))
    if failed:
        raise Failed("\n".join(f"not made: {line}" for line in failed), 1)


def _data(folder: Path | None, name: str, ask: bool) -> bytes | None:
    """A secret's data, from its file or from the keyboard; None where neither has any.

    A name never leads out of the folder.
    """
    try:
        if folder is not None and "/" not in name and name not in ("", ".", ".."):
            return (folder / name).read_bytes()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InvalidSpec(f"--secrets {name}: {error.strerror}") from error
    if not ask:
        return None
    typed = click.prompt(
        f"Data of secret {name} (empty: leave it out)", hide_input=True, default="",
        show_default=False, err=True,
    )  # fmt: skip
    return str(typed).encode() or None


def shown(wanted: Plan, address: str) -> Iterator[str]:
    """The plan as lines for people."""
    made = [
        *(f"label node {name}: {_pairs(labels)}" for name, labels in wanted.labels.items()),
        *(f"network {spec.annotations.name}" for spec in wanted.networks),
        *(f"secret {spec.annotations.name} ({len(spec.data)} bytes)" for spec in wanted.secrets),
        *(f"config {spec.annotations.name}" for spec in wanted.configs),
        *(f"service {spec.annotations.name}" for spec in wanted.services),
    ]
    yield f"Of the swarm at {address}:"
    if not any((made, wanted.present, wanted.refused, wanted.notes)):
        yield "  nothing: it has no services, networks, secrets, configs and labels of nodes"
    yield from _block("To be made", made)
    yield from _block("Here already, and left as it is", wanted.present)
    yield from _block("Cannot be made", [f"{what}: {why}" for what, why in wanted.refused.items()])
    yield from _block("To be looked after", wanted.notes)


def _block(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"{title}:"
        yield from (f"  {line}" for line in lines)


def _pairs(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
