"""Login tokens: `SWMLOGIN-1-<digest of the root CA>-<what it says>-<its seal>`.

A token says a name, a role and until when it holds, and is sealed with the managers' join token,
which only admins know: so managers keep nothing of it, and rotating that token voids those that
nobody used yet.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

from swarmlite.errors import InvalidSpec, PermissionDenied
from swarmlite.identity import subjects
from swarmlite.ids import LENGTH, base36
from swarmlite.proto import options_pb2

LONGEST_S = 7 * 24 * 3600
HOUR_S = 3600
_TOKEN = re.compile(r"SWMLOGIN-1-([0-9a-z]{50})-([2-7a-z]{8,400})-([0-9a-z]{25})", re.ASCII)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.@-]{0,62}", re.ASCII)
ROLES = {
    "admin": options_pb2.ROLE_ADMIN,
    "operator": options_pb2.ROLE_OPERATOR,
    "read-only": options_pb2.ROLE_READER,
}
SUBJECTS: dict[int, str] = {
    options_pb2.ROLE_ADMIN: subjects.ADMIN,
    options_pb2.ROLE_OPERATOR: subjects.OPERATOR,
    options_pb2.ROLE_READER: subjects.READER,
}


@dataclass(frozen=True)
class Login:
    """What a token lets somebody be."""

    name: str
    role: options_pb2.Role.ValueType
    expires: int
    """Seconds since the epoch."""


def check_name(name: str) -> str:
    """The name of a user. Raises InvalidSpec."""
    if not _NAME.fullmatch(name):
        raise InvalidSpec(
            f"user {name[:70]!r}: expected up to 63 letters, digits and _.@-, the first one a"
            " letter or a digit"
        )
    return name


def make(login: Login, ca_digest: str, secret: str) -> str:
    """The token. `secret` is the managers' join token."""
    text = f"{login.expires}:{int(login.role)}:{login.name}".encode()
    said = base64.b32encode(text).decode().rstrip("=").lower()
    return f"SWMLOGIN-1-{ca_digest}-{said}-{_seal(ca_digest, said, secret)}"


def ca_digest_of(token: str) -> str:
    """Of the cluster that it is for. Raises InvalidSpec for what is no login token."""
    return _parts(token)[0]


def read(token: str, ca_digest: str, secret: str, now: float) -> Login:
    """What it says, if it holds. Raises InvalidSpec, PermissionDenied."""
    digest, said, seal = _parts(token)
    expected = _seal(ca_digest, said, secret)
    if digest != ca_digest or not secret or not hmac.compare_digest(seal, expected):
        raise PermissionDenied(
            "the login token is not valid: the managers' join token may have been rotated"
        )
    try:
        text = base64.b32decode(said.upper() + "=" * (-len(said) % 8)).decode()
        expires, role, name = text.split(":", 2)
        login = Login(name, options_pb2.Role.ValueType(int(role)), int(expires))
    except (binascii.Error, ValueError) as error:
        raise PermissionDenied("the login token is malformed") from error
    if login.expires < now:
        raise PermissionDenied("the login token has expired: ask for another one")
    return login


def fingerprint(token: str) -> str:
    """What is kept of a token that was used."""
    return hashlib.sha256(token.strip().encode()).hexdigest()[:32]


def _parts(token: str) -> tuple[str, str, str]:
    match = _TOKEN.fullmatch(token.strip())
    if match is None:
        raise InvalidSpec("invalid login token: expected SWMLOGIN-1-..., as it was printed")
    return match[1], match[2], match[3]


def _seal(ca_digest: str, said: str, secret: str) -> str:
    made = hmac.digest(secret.encode(), f"login:{ca_digest}:{said}".encode(), "sha256")
    return base36(int.from_bytes(made[:16], "big"), LENGTH)
