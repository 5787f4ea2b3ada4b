"""The compose files that -c names, read, and what is said of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from swarmlite.cli.lazy import flag
from swarmlite.cli.workdir import working_directory
from swarmlite.errors import InvalidSpec
from swarmlite.stack import load, outside
from swarmlite.stack.profiles import VARIABLE
from swarmlite.stack.syntax import dotenv
from swarmlite.stack.tree import MAX_BYTES

STDIN = "-"


def compose_option(command: Any) -> Any:
    """-c, --compose-file, as often as wanted."""
    return click.option(
        "-c",
        "--compose-file",
        "paths",
        multiple=True,
        help='Path to a Compose file, or "-" to read from stdin.',
    )(command)


def profile_option(command: Any) -> Any:
    """--profile, as often as wanted; beside COMPOSE_PROFILES."""
    return click.option(
        "--profile",
        "profiles",
        multiple=True,
        callback=_activate,
        expose_value=False,
        help="Deploy the services of this profile too; '*' of all.",
    )(command)


def only_option(command: Any) -> Any:
    """--only-this-file, for who sends a file by the page: nothing of this host is read with it."""
    return flag(
        "--only-this-file", hidden=True, expose_value=False, callback=_close,
        help="Read nothing but the file itself.",
    )(command)  # fmt: skip


def _close(_: click.Context, __: click.Parameter, value: bool) -> None:
    if value:
        outside.close()


def _activate(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> None:
    named = [*filter(None, [os.environ.get(VARIABLE, "")]), *values]
    if values:
        os.environ[VARIABLE] = ",".join(named)


def read(paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Name and text of each. Raises InvalidSpec without any, OSError for what cannot be read."""
    if not paths:
        raise InvalidSpec("please specify a Compose file (with --compose-file)")
    files = []
    for path in paths:
        if path == STDIN:
            files.append(("stdin", sys.stdin.buffer.read(MAX_BYTES + 1)))
        else:
            with Path(path).open("rb") as stream:
                files.append((path, stream.read(MAX_BYTES + 1)))
    return files


def folder(paths: Sequence[str]) -> Path:
    """Where relative paths begin: beside the first file."""
    here = working_directory()
    return here if paths[0] == STDIN else Path(os.path.normpath(here / paths[0])).parent


def environment(paths: Sequence[str]) -> dict[str, str]:
    """This process's, and behind it the .env beside the first file. Raises InvalidSpec."""
    if outside.closed():
        return {}
    own = dict(os.environ)
    path = folder(paths) / ".env"
    try:
        text = path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return own
    except OSError as error:
        raise InvalidSpec(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"{path}: not UTF-8") from error
    try:
        return {**dotenv.variables(text, own), **own}
    except InvalidSpec as error:
        raise InvalidSpec(f"{path}: {error}") from error


def stack(paths: Sequence[str], namespace: str) -> load.Stack:
    """The stack of these files; its warnings are printed. Raises InvalidSpec."""
    loaded = load.load(read(paths), namespace, folder=folder(paths), environment=environment(paths))
    if outside.closed() and loaded.builds:
        raise InvalidSpec(
            f"service {loaded.builds[0].service} has a build section: `swarmlite stack deploy`"
            " builds it, where its folder is"
        )
    for warning in loaded.warnings:
        click.echo(warning, err=True)
    return loaded
