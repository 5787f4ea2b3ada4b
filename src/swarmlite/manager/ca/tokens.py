"""Join tokens: `SWMTKN-1-<digest of the root CA, 50 base36>-<secret, 25 base36>`."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from swarmlite.errors import InvalidSpec
from swarmlite.ids import LENGTH, base36

_TOKEN = re.compile(r"SWMTKN-1-([0-9a-z]{50})-([0-9a-z]{25})", re.ASCII)


@dataclass(frozen=True)
class JoinToken:
    """A token's two parts."""

    ca_digest: str
    secret: str

    def __str__(self) -> str:
        return f"SWMTKN-1-{self.ca_digest}-{self.secret}"


def digest(ca_cert: bytes) -> str:
    """The base36 sha256 of a root certificate's PEM, as tokens carry it."""
    return base36(int.from_bytes(hashlib.sha256(ca_cert.strip() + b"\n").digest(), "big"), 50)


def new_token(ca_digest: str) -> str:
    """A token with a new secret of 128 bits."""
    return str(JoinToken(ca_digest, base36(secrets.randbits(128), LENGTH)))


def parse(token: str) -> JoinToken:
    """A token's parts. Raises InvalidSpec for what has not a token's form."""
    match = _TOKEN.fullmatch(token.strip())
    if match is None:
        raise InvalidSpec("invalid join token: expected SWMTKN-1-<50 characters>-<25 characters>")
    return JoinToken(*match.groups())


def equal(given: str, expected: str) -> bool:
    """Whether two tokens are the same, in a time that does not tell how much of it was right."""
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())
