"""--platform and --all-platforms."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.lazy import flag, parsed
from swarmlite.errors import InvalidSpec
from swarmlite.proto.types_pb2 import Platform


def parse_platform(text: str) -> Platform:
    """OS/ARCHITECTURE[/VARIANT]. Raises InvalidSpec."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise InvalidSpec("expected OS/ARCHITECTURE[/VARIANT], for example linux/amd64")
    return Platform(os=parts[0], architecture=parts[1], variant="".join(parts[2:]))


def platform_option(command: Any) -> Any:
    """--platform."""
    return click.option(
        "--platform",
        type=parsed(parse_platform, "string"),
        help="Platform, as linux/amd64 or linux/arm/v7.",
    )(command)


def all_platforms_option(command: Any) -> Any:
    """--all-platforms."""
    return flag("--all-platforms", help="Every platform of the image's index.")(command)
