"""Credentials of registries, as `docker login` leaves them in ~/.docker/config.json."""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any

import click

from swarmlite.cli.image.naming import registry_of
from swarmlite.errors import InvalidSpec


def registry_auth(image: str) -> str:
    """What a registry is sent for `image`: base64 of JSON; empty without credentials.

    Credential helpers are other programs that hold the password; they are not asked, and the user
    hears so. Raises InvalidSpec for a file that does not parse.
    """
    registry = registry_of(image)
    config = _config()
    if registry in config.get("credHelpers", {}) or config.get("credsStore"):
        click.echo(f"warning: credential helpers are not supported (for {registry})", err=True)
    entry = _entry(config.get("auths", {}), registry)
    if not entry:
        return ""
    user, password = entry.get("username", ""), entry.get("password", "")
    if entry.get("auth"):
        user, password = _split(entry["auth"], registry)
    auth = {
        "username": user,
        "password": password,
        "identitytoken": entry.get("identitytoken", ""),
        "serveraddress": registry,
    }
    return base64.b64encode(json.dumps(auth).encode()).decode()


def _entry(auths: dict[str, Any], registry: str) -> dict[str, Any] | None:
    """The entry of a registry; older ones are kept under https://HOST/v1/."""
    if registry in auths:
        found: dict[str, Any] = auths[registry]
        return found
    for key, entry in auths.items():
        host = key.partition("://")[2].partition("/")[0]
        if host and host == registry and isinstance(entry, dict):
            return entry
    return None


def _config() -> dict[str, Any]:
    folder = os.environ.get("DOCKER_CONFIG") or Path("~/.docker").expanduser()
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise InvalidSpec(f"{path}: no JSON: {error}") from error
    if not isinstance(config, dict):
        raise InvalidSpec(f"{path}: expected an object")
    return config


def _split(auth: str, registry: str) -> tuple[str, str]:
    try:
        user, colon, password = base64.b64decode(auth).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidSpec(f"the credentials of {registry} in config.json are not base64") from error
    if not colon:
        raise InvalidSpec(f"the credentials of {registry} in config.json are not USER:PASSWORD")
    return user, password.rstrip("\0")
