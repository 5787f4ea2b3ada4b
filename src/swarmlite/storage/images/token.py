"""Bearer tokens: the challenge of a 401 and the token server that it names.

Source: the distribution project's "Docker Registry v2 authentication via central service".
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from swarmlite.errors import FailedPrecondition, PermissionDenied, Unavailable
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.encodings import read_answer

_CLIENT = "swarmlite"
_MAX_TOKEN_BYTES = 1 << 20
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:\s+|$|(?=,))")


@dataclass(frozen=True)
class Challenge:
    """One challenge of a WWW-Authenticate header; scheme and names are lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge, of which one header may hold several; what cannot be read is left out.

    Source: RFC 9110, section 11.6.1: commas part both the challenges and their parameters.
    """
    challenges = []
    for header in headers:
        rest = header[:8192]
        while match := _SCHEME.match(rest):
            rest = rest[match.end() :]
            parameters: dict[str, str] = {}
            while found := _PARAMETER.match(rest):
                name, quoted, bare = found.groups()
                parameters[name.lower()] = bare or re.sub(r"\\(.)", r"\1", quoted or "")
                rest = rest[found.end() :]
            challenges.append(Challenge(match.group(1).lower(), parameters))
    return challenges


async def fetch_token(
    session: aiohttp.ClientSession,
    registry: URL,
    challenge: Challenge,
    scope: str,
    auth: RegistryAuth | None,
    *,
    strict: bool = False,
    connecting: Mapping[str, Any] | None = None,
    offline: bool = False,
) -> tuple[str, str]:
    """A Bearer Authorization header, and the identity token that came with it, if any.

    Raises PermissionDenied, FailedPrecondition, Unavailable.

    A registry may name any realm, and hosted ones do: credentials go there unless that would be
    less secure than the registry itself. With `strict` only to a realm of the registry's own site;
    another is asked for an anonymous token. `connecting` is how the realm is reached. With
    `offline` an identity token is asked for, to be kept in the password's place.
    """
    realm = _realm(registry, challenge)
    trusted = same_site(registry, realm) if strict else as_secure(registry, realm)
    query: list[tuple[str, str]] = [("scope", part) for part in scope.split()]
    if service := challenge.parameters.get("service"):
        query.append(("service", service))
    if offline:
        query += [("offline_token", "true"), ("client_id", _CLIENT)]
    options: dict[str, Any] = {"allow_redirects": False, **(connecting or {})}
    headers = {}
    if auth is not None and trusted and auth.username:
        headers["Authorization"] = auth.basic()
    if auth is not None and trusted and auth.identity_token:
        form = {"grant_type": "refresh_token", "refresh_token": auth.identity_token}
        form |= {"client_id": _CLIENT, "scope": scope}
        form |= {key: value for key, value in query if key == "service"}
        request = session.post(realm, data=form, **options)
    else:
        request = session.get(realm.extend_query(query), headers=headers, **options)
    async with request as response:
        if response.status == 200:
            token, refresh = await _token(response, realm)
            return f"Bearer {token}", refresh
        status = response.status
    if auth is not None and not trusted:
        why = "another host" if strict else "where they would not be encrypted"
        raise PermissionDenied(
            f"registry {registry.authority} sends logins to {realm.host}, {why}: "
            "the credentials were not sent there"
        )
    if status in (401, 403):
        given = "refuses these credentials" if auth else "gives no anonymous access"
        raise PermissionDenied(f"the token server {realm.authority} {given}")
    raise Unavailable(f"the token server {realm.authority} answers {status}")


def as_secure(registry: URL, realm: URL) -> bool:
    """Whether what is said to `realm` is as secret as what is said to the registry.

    Without encryption only on the registry's own host.
    """
    return realm.scheme == "https" or (
        registry.scheme == "http" and (registry.host or "").lower() == (realm.host or "").lower()
    )


def same_site(registry: URL, realm: URL) -> bool:
    """Whether credentials for `registry` may go to `realm`.

    The same host, or names that share their parent domain (registry-1.docker.io and
    auth.docker.io) or one the parent of the other; never from HTTPS to HTTP.
    """
    if registry.scheme == "https" and realm.scheme != "https":
        return False
    ours, theirs = (registry.host or "").lower(), (realm.host or "").lower()
    if ours == theirs:
        return True
    if not ours or not theirs or _is_address(ours) or _is_address(theirs):
        return False
    parent = ours.partition(".")[2]
    if "." not in parent:
        return theirs.endswith("." + ours) and "." in ours
    return theirs == parent or theirs.endswith("." + parent)


def _realm(registry: URL, challenge: Challenge) -> URL:
    text = challenge.parameters.get("realm", "")
    try:
        realm = URL(text)
    except ValueError:
        realm = URL()
    if realm.scheme not in ("http", "https") or not realm.host:
        raise FailedPrecondition(
            f"registry {registry.authority} names the token server {text[:90]!r}, not a URL"
        )
    return realm


async def _token(response: aiohttp.ClientResponse, realm: URL) -> tuple[str, str]:
    try:
        document = json.loads(await read_answer(response, _MAX_TOKEN_BYTES, realm.authority))
        token = document.get("token") or document.get("access_token")
        refresh = document.get("refresh_token")
    except (ValueError, AttributeError, RecursionError):
        token = refresh = None
    if not isinstance(token, str) or not token or not token.isprintable():
        raise FailedPrecondition(f"the token server {realm.authority} sends no token")
    return token, refresh if isinstance(refresh, str) and refresh.isprintable() else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
