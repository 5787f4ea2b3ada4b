"""Credentials of registries, as `login` and `docker login` keep them.

~/.docker/config.json (or that of DOCKER_CONFIG) holds them itself, or names a program that does:
`credHelpers` for one registry, `credsStore` for all.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any

from swarmlite.cli.image import helpers
from swarmlite.cli.image.naming import registry_of
from swarmlite.errors import FailedPrecondition, InvalidSpec

Document = dict[str, Any]


def registry_auth(image: str) -> str:
    """What a registry is sent for `image`: base64 of JSON; empty without credentials.

    Raises InvalidSpec for a file that does not parse, FailedPrecondition where a helper fails.
    """
    return auth_for(registry_of(image))


def auth_for(registry: str) -> str:
    """The same for a registry, by the key that config.json has for it."""
    config = read_config()
    if (helper := _helper_of(config, registry)) and (found := helpers.get(helper, registry)):
        return encoded(registry, found.username, found.secret)
    entry = _entry(config.get("auths", {}), registry)
    if not entry:
        return ""
    user, password = entry.get("username", ""), entry.get("password", "")
    if entry.get("auth"):
        user, password = _split(entry["auth"], registry)
    return encoded(registry, user, password, entry.get("identitytoken", ""))


def encoded(registry: str, user: str, secret: str, identity_token: str = "") -> str:
    """Credentials as a registry's requests carry them."""
    if user == helpers.TOKEN_USER:
        user, secret, identity_token = "", "", secret
    auth = {
        "username": user,
        "password": secret,
        "identitytoken": identity_token,
        "serveraddress": registry,
    }
    return base64.b64encode(json.dumps(auth).encode()).decode()


def keep(registry: str, user: str, password: str, identity_token: str = "") -> bool:
    """Remember a login, by its identity token and without the password where it has one.

    Whether it lies in clear in config.json. Raises as `registry_auth`.
    """
    config = read_config()
    if helper := _helper_of(config, registry):
        if identity_token:
            user, password = helpers.TOKEN_USER, identity_token
        helpers.store(helper, registry, user, password)
        config.setdefault("auths", {})[registry] = {}
        _write(config)
        return False
    secret = "" if identity_token else password
    entry = {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}
    if identity_token:
        entry["identitytoken"] = identity_token
    config.setdefault("auths", {})[registry] = entry
    _write(config)
    return True


def forget(registry: str) -> bool:
    """Drop a login; whether there was one. Raises as `registry_auth`."""
    config = read_config()
    helper = _helper_of(config, registry)
    erased = bool(helper) and helpers.erase(helper, registry)
    auths = config.get("auths", {})
    keys = [key for key in auths if key == registry or _host(key) == registry]
    for key in keys:
        del auths[key]
    if keys:
        _write(config)
    return erased or bool(keys)


def _helper_of(config: Document, registry: str) -> str:
    """The suffix of the program that holds a registry's login; empty for none."""
    named = config.get("credHelpers")
    special = named.get(registry) if isinstance(named, dict) else None
    found = special or config.get("credsStore") or ""
    if not isinstance(found, str) or (found and not helpers.is_name(found)):
        raise InvalidSpec(f"{config_path()}: {str(found)[:60]!r} is not a credential helper's name")
    return found


def _entry(auths: Any, registry: str) -> Document | None:
    """The entry of a registry; older ones are kept under https://HOST/v1/."""
    if not isinstance(auths, dict):
        raise InvalidSpec(f"{config_path()}: auths is not an object")
    for key, entry in auths.items():
        if registry in (key, _host(key)) and isinstance(entry, dict) and entry:
            return entry
    return None


def _host(key: str) -> str:
    return key.partition("://")[2].partition("/")[0]


def config_path() -> Path:
    """Where Docker's command keeps its configuration."""
    folder = os.environ.get("DOCKER_CONFIG") or Path("~/.docker").expanduser()
    return Path(folder) / "config.json"


def read_config() -> Document:
    """Empty where there is none. Raises InvalidSpec."""
    path = config_path()
    try:
        config = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise InvalidSpec(f"{path}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise InvalidSpec(f"{path}: expected an object")
    return config


def _write(config: Document) -> None:
    from swarmlite.kernel import durable  # with ctypes, and only for a login

    path = config_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write(path, json.dumps(config, indent="\t").encode())
    except OSError as error:
        raise FailedPrecondition(f"{path} cannot be written: {error.strerror}") from error


def _split(auth: str, registry: str) -> tuple[str, str]:
    try:
        user, colon, password = base64.b64decode(auth).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidSpec(f"the credentials of {registry} in config.json are not base64") from error
    if not colon:
        raise InvalidSpec(f"the credentials of {registry} in config.json are not USER:PASSWORD")
    return user, password.rstrip("\0")
