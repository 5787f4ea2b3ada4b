"""Credential helpers: programs `docker-credential-NAME` that hold logins.

Source: the protocol of the docker-credential-helpers project: the verb is the only argument,
standard input is the registry or JSON, standard output JSON or an error's text.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field

from swarmlite.errors import FailedPrecondition

TOKEN_USER = "<token>"
"""A helper's user name for what is an identity token and no password."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_NOT_FOUND = "credentials not found"
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Held:
    """What a helper holds of a registry."""

    username: str
    secret: str = field(repr=False)


def is_name(text: str) -> bool:
    """Whether it may follow `docker-credential-`."""
    return _NAME.fullmatch(text) is not None


def get(helper: str, registry: str) -> Held | None:
    """The login of a registry; None where it holds none. Raises FailedPrecondition."""
    out = _run(helper, "get", registry)
    if out is None:
        return None
    try:
        document = json.loads(out)
        return Held(str(document["Username"]), str(document["Secret"]))
    except (ValueError, KeyError, TypeError) as error:
        raise FailedPrecondition(
            f"docker-credential-{helper} get: it did not answer with JSON of Username and Secret"
        ) from error


def store(helper: str, registry: str, username: str, secret: str) -> None:
    """Let it hold a login. Raises FailedPrecondition."""
    document = {"ServerURL": registry, "Username": username, "Secret": secret}
    _run(helper, "store", json.dumps(document))


def erase(helper: str, registry: str) -> bool:
    """Let it forget one; whether it held it. Raises FailedPrecondition."""
    return _run(helper, "erase", registry) is not None


def _run(helper: str, verb: str, text: str) -> str | None:
    """What it prints; None where it holds nothing. Never says what was given to it."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb],
            input=text.encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise FailedPrecondition(
            f"{program} is not installed, and config.json says that it holds the login"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FailedPrecondition(f"{program} {verb} failed: {error}") from error
    if done.returncode == 0:
        return done.stdout.decode(errors="replace")
    said = (done.stdout or done.stderr).decode(errors="replace").strip()
    if _NOT_FOUND in said:
        return None
    raise FailedPrecondition(f"{program} {verb} failed: {(said.splitlines() or ['no message'])[0]}")
