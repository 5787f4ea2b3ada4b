"""Credentials for a registry."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field

from swarmlite.errors import InvalidSpec
from swarmlite.model.references import DEFAULT_DOMAIN


@dataclass(frozen=True)
class RegistryAuth:
    """A user name and password, or an identity token; none of them shows in a repr."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    server_address: str = ""

    @classmethod
    def from_base64(cls, text: str) -> RegistryAuth | None:
        """From PullOptions.registry_auth: base64 of JSON, as Docker sends it; None when empty.

        Keys: username, password, auth (base64 of user:password), identitytoken, serveraddress.
        Raises InvalidSpec, whose message never holds what was given.
        """
        if not text:
            return None
        try:
            padded = text.strip() + "=" * (-len(text.strip()) % 4)
            document = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (ValueError, binascii.Error, RecursionError):
            raise InvalidSpec("the registry credentials are not base64 of a JSON object") from None
        if not isinstance(document, dict):
            raise InvalidSpec("the registry credentials are not a JSON object")
        auth = cls._from_document({key.lower(): value for key, value in document.items()})
        return auth if auth.username or auth.identity_token else None

    @classmethod
    def _from_document(cls, document: dict[str, object]) -> RegistryAuth:
        def text(key: str) -> str:
            value = document.get(key) or ""
            if not isinstance(value, str):
                raise InvalidSpec(f"the registry credentials' {key} is not a string")
            return value

        username, password = text("username"), text("password")
        if not username and text("auth"):
            try:
                decoded = base64.b64decode(text("auth")).decode()
            except ValueError:
                raise InvalidSpec("the registry credentials' auth is not base64") from None
            username, _, password = decoded.partition(":")
        return cls(username, password, text("identitytoken"), text("serveraddress"))

    def only_for(self, domain: str) -> RegistryAuth | None:
        """Itself where it is of this registry, or names none; else None: it goes nowhere else."""
        return self if self.domain in ("", domain) else None

    @property
    def domain(self) -> str:
        """HOST[:PORT] of the registry that it is of; empty where it names none."""
        named = self.server_address.partition("://")[2] or self.server_address
        named = named.partition("/")[0]
        hub = named in ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
        return DEFAULT_DOMAIN if hub else named

    def to_base64(self) -> str:
        """The form that `from_base64` reads."""
        document = {
            "username": self.username,
            "password": self.password,
            "identitytoken": self.identity_token,
            "serveraddress": self.server_address,
        }
        body = json.dumps({key: value for key, value in document.items() if value})
        return base64.urlsafe_b64encode(body.encode()).decode()

    def basic(self) -> str:
        """The value of a basic Authorization header."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()
