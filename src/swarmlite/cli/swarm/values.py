"""Values that several verbs of `swarm` and `node` take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from swarmlite.cli.lazy import one_of, parsed
from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import ExternalCA

F = TypeVar("F", bound=Callable[..., Any])

AVAILABILITY = one_of(active="active", pause="pause", drain="drain")


def seconds(text: str) -> float:
    """A duration in seconds. Raises InvalidSpec."""
    from swarmlite.model import units

    value = units.parse_duration(text)
    if value <= 0:
        raise InvalidSpec("expected a duration greater than zero")
    return value / units.SECOND


def seconds_option(name: str, help: str) -> Callable[[F], F]:
    """An option whose value is a duration, in seconds."""
    return click.option(name, type=parsed(seconds, "duration"), help=help)


def external_ca_option(command: F) -> F:
    """--external-ca, any number of them."""
    help = "Specifications of one or more certificate signing endpoints."
    return click.option("--external-ca", multiple=True, help=help)(command)


def external_ca(text: str) -> ExternalCA:
    """protocol=cfssl,url=https://...[,cacert=FILE][,KEY=VALUE]. Raises InvalidSpec."""
    made = ExternalCA()
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise InvalidSpec(f"--external-ca: expected KEY=VALUE, not {part!r}")
        if key == "protocol":
            made.protocol = value
        elif key == "url":
            made.url = value
        elif key == "cacert":
            made.ca_cert = file_of("--external-ca", value)
        else:
            made.options[key] = value
    if not made.protocol or not made.url:
        raise InvalidSpec("--external-ca: expected protocol=cfssl,url=https://HOST/PATH")
    return made


def file_of(flag: str, path: str) -> bytes:
    """What is in a file that a flag names. Raises InvalidSpec."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidSpec(f"{flag}: {path}: {error.strerror}") from error


def etcd_options(command: F) -> F:
    """--etcd-endpoints and what goes with it: `etcd_values` reads them."""
    for name, help, others in (
        ("--etcd-key", "The certificate's key.", {"metavar": "FILE"}),
        ("--etcd-cert", "A client certificate for that etcd.", {"metavar": "FILE"}),
        ("--etcd-ca-cert", "The CA of that etcd's certificates.", {"metavar": "FILE"}),
        ("--etcd-prefix", "Before every key there (/NAME).", {}),
        ("--etcd-endpoints", "An etcd that exists: URL[,URL].", {"multiple": True}),
    ):
        command = click.option(name, help=help, **others)(command)
    return command


def etcd_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The request's part: URLs one by one, and the files' contents. Raises InvalidSpec."""
    urls = [url for text in values["etcd_endpoints"] for url in text.split(",") if url]
    made: dict[str, Any] = {"etcd_endpoints": urls or None}
    for key in ("etcd_ca_cert", "etcd_cert", "etcd_key"):
        if values[key]:
            made[key] = file_of(f"--{key.replace('_', '-')}", values[key]).decode("latin-1")
    return made


def passphrase_option(help: str) -> Callable[[F], F]:
    """--passphrase-file."""
    return click.option("--passphrase-file", metavar="FILE", help=help)


def passphrase_of(path: str | None) -> str:
    """The first line of the file, or of stdin for "-"; empty without one. Raises InvalidSpec."""
    if path is None:
        return ""
    text = sys.stdin.readline() if path == "-" else file_of("--passphrase-file", path).decode()
    line = text.splitlines()[0] if text else ""
    if not line:
        raise InvalidSpec(f"--passphrase-file: {path} has no passphrase on its first line")
    return line


_UNLOCK = """To unlock a swarm manager after it restarts, run the `swarmlite swarm unlock`
command and provide the following key:

    {key}

Remember to store this key in a password manager, since without it you
will not be able to restart the manager."""


def how_to_unlock(key: str) -> str:
    """What is said wherever an unlock key is shown."""
    return _UNLOCK.format(key=key)


def warn_of_quorum(managers: int) -> None:
    """Two managers are worse than one: losing either of them loses the quorum."""
    if managers == 2:
        click.echo(
            "warning: this swarm has 2 managers, and stops being managed when either is lost:"
            " use 1, 3 or 5",
            err=True,
        )
