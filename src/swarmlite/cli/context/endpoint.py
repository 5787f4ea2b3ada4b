"""Where a context's node is, as `--docker "host=...,ca=...,cert=...,key=..."` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from swarmlite.cli.lazy import parsed
from swarmlite.client.contexts import PEM_FILES, Context, Contexts
from swarmlite.client.reach import address
from swarmlite.client.reach.address import IN_CLEAR, Certificates
from swarmlite.errors import InvalidSpec

KEYS = ("host", *PEM_FILES, "skip-tls-verify", "from", IN_CLEAR)
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false", "")


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not equals or key not in KEYS:
            raise InvalidSpec(f"expected KEY=VALUE with a key of {', '.join(KEYS)}, not {pair!r}")
        if key in found:
            raise InvalidSpec(f"{key} is specified twice")
        found[key] = value
    return found


def endpoint_option(command: Any) -> Any:
    """--docker, and --node, which is the same."""
    return click.option(
        "--docker",
        "--node",
        "endpoint",
        type=parsed(_pairs, "stringToString"),
        help='Where the node is: "host=tcp://HOST:PORT,ca=FILE,cert=FILE,key=FILE", or'
        ' "host=ssh://USER@HOST".',
    )(command)


description_option = click.option("--description", help="Description of the context.")


def changed(context: Context, said: Mapping[str, str], contexts: Contexts) -> Context:
    """The context with what was said of its node. Raises InvalidSpec, NotFound."""
    if source := said.get("from"):
        other = contexts.get(source)
        context = replace(other, name=context.name, description=context.description)
    pem = dict(context.pem)
    for each in PEM_FILES:
        if each in said:
            pem[each] = _read(said[each])
    made = replace(
        context,
        host=said.get("host", context.host),
        pem=pem,
        skip_verify=_flag(said, "skip-tls-verify", context.skip_verify),
        in_clear=_flag(said, IN_CLEAR, context.in_clear),
    )
    check(made)
    return made


def check(context: Context) -> None:
    """Raises InvalidSpec for what could never be reached."""
    cert, key = (Path(each) if each in context.pem else None for each in ("cert", "key"))
    address.check(context.host, Certificates(cert=cert, key=key, in_clear=context.in_clear))
    if context.host.startswith("swarm://"):
        if not {"ca", "cert", "key"} <= context.pem.keys() or context.in_clear:
            raise InvalidSpec(
                f"{context.host}: give ca=, cert= and key=, as `swarmlite login swarm://MANAGER"
                " --token TOKEN` makes them"
            )
    elif not context.host.startswith("tcp://"):
        if context.pem or context.in_clear or context.skip_verify:
            raise InvalidSpec(f"{context.host}: certificates are of tcp:// only")
    elif not context.in_clear and not {"cert", "key"} <= context.pem.keys():
        raise InvalidSpec(
            f"{context.host}: give ca=, cert= and key=: whoever reaches a node's port is root"
            f" there, so it asks for a certificate ({IN_CLEAR}=true: the node asks for none)"
        )


def _read(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise InvalidSpec(f"{path}: {error.strerror}") from error


def _flag(said: Mapping[str, str], key: str, default: bool) -> bool:
    value = said.get(key)
    if value is None:
        return default
    if value.lower() not in _TRUE + _FALSE:
        raise InvalidSpec(f"{key}: expected true or false, not {value!r}")
    return value.lower() in _TRUE
