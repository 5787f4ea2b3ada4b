"""Whether a registry takes a login: `login`."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec
from swarmlite.model.references import DEFAULT_DOMAIN
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.transport import Retryable, Transport

_HUB = "registry-1.docker.io"


async def login(auth: RegistryAuth, settings: RegistrySettings) -> str:
    """The identity token to keep in the password's place, where the registry's server gives one.

    Raises PermissionDenied where it refuses, Unavailable, InvalidSpec for no registry."""
    domain = auth.domain or DEFAULT_DOMAIN
    if "/" in domain or not domain.isprintable():
        raise InvalidSpec(f"{domain[:80]!r} is not a registry's HOST[:PORT]")
    host = _HUB if domain == DEFAULT_DOMAIN else domain
    async with Transport(host, auth, settings) as transport:
        transport.offline = not auth.identity_token
        attempt = 0
        while True:
            try:
                async with transport.request("GET", "", scope=""):
                    return transport.identity_token
            except Retryable as failure:
                await transport.pause(failure, attempt)
                attempt += 1
