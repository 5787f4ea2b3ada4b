"""Bearer tokens: the challenge of a 401 and the token server that it names.

Source: the distribution project's "Docker Registry v2 authentication via central service".
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
from yarl import URL

from swarmlite.errors import FailedPrecondition, PermissionDenied, Unavailable
from swarmlite.storage.images.auth import RegistryAuth

_MAX_TOKEN_BYTES = 1 << 20
_SCHEME = re.compile(r"\s*([A-Za-z]+)\s*(.*)", re.DOTALL)
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True)
class Challenge:
    """One WWW-Authenticate header; the scheme is lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """One challenge a header; what cannot be read is left out."""
    challenges = []
    for header in headers:
        if match := _SCHEME.match(header[:8192]):
            parameters = {
                name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare
                for name, quoted, bare in _PARAMETER.findall(match.group(2))
            }
            challenges.append(Challenge(match.group(1).lower(), parameters))
    return challenges


async def fetch_token(
    session: aiohttp.ClientSession,
    registry: URL,
    challenge: Challenge,
    scope: str,
    auth: RegistryAuth | None,
) -> str:
    """A Bearer Authorization header; raises PermissionDenied, FailedPrecondition, Unavailable.

    Credentials are sent to a realm of the registry's own site only; another realm is asked for an
    anonymous token.
    """
    realm = _realm(registry, challenge)
    trusted = same_site(registry, realm)
    query = {"scope": scope} if scope else {}
    if service := challenge.parameters.get("service"):
        query["service"] = service
    headers = {}
    if auth is not None and trusted and auth.username:
        headers["Authorization"] = auth.basic()
    if auth is not None and trusted and auth.identity_token:
        form = {**query, "grant_type": "refresh_token", "refresh_token": auth.identity_token}
        form["client_id"] = "swarmlite"
        request = session.post(realm, data=form, allow_redirects=False)
    else:
        request = session.get(realm.update_query(query), headers=headers, allow_redirects=False)
    async with request as response:
        if response.status == 200:
            return f"Bearer {await _token(response, realm)}"
        status = response.status
    if auth is not None and not trusted:
        raise PermissionDenied(
            f"registry {registry.authority} sends logins to {realm.host}, another host: "
            "the credentials were not sent there"
        )
    if status in (401, 403):
        given = "refuses these credentials" if auth else "gives no anonymous access"
        raise PermissionDenied(f"the token server {realm.authority} {given}")
    raise Unavailable(f"the token server {realm.authority} answers {status}")


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
            f"registry {registry.authority} names the token server {text[:100]!r}, which is no URL"
        )
    return realm


async def _token(response: aiohttp.ClientResponse, realm: URL) -> str:
    body = await response.content.read(_MAX_TOKEN_BYTES)
    while not response.content.at_eof() and len(body) < _MAX_TOKEN_BYTES:
        body += await response.content.read(_MAX_TOKEN_BYTES)
    try:
        document = json.loads(body)
        token = document.get("token") or document.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str) or not token or not token.isprintable():
        raise FailedPrecondition(f"the token server {realm.authority} sends no token")
    return token


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
