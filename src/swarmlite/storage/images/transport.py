"""HTTP to one registry: scheme, TLS, credentials, redirects, retries.

Credentials go to the registry itself and, for a token, to a token server of the same site; a
redirect or realm that names another host gets none.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from swarmlite.errors import (
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SwarmliteError,
    Unavailable,
)
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.token import Challenge, fetch_token, parse_challenges

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
NOBODY_RETRIES = 2
NETWORK_ERRORS = (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError)


class Retryable(Exception):
    """An attempt failed in a way that may pass; `error` is what to raise when it does not."""

    def __init__(
        self, error: SwarmliteError, wait_s: float | None = None, *, nobody: bool = False
    ) -> None:
        """`nobody`: refused, no route, no such name: it passes within seconds or not at all."""
        super().__init__(str(error))
        self.error = error
        self.wait_s = wait_s
        self.nobody = nobody


class Transport:
    """Requests to one registry with one set of credentials; used on one event loop."""

    def __init__(self, host: str, auth: RegistryAuth | None, settings: RegistrySettings) -> None:
        self.host = host
        self._auth = auth
        self._settings = settings
        self._base: URL | None = None
        self._authorization: dict[str, str] = {}
        self._tls: ssl.SSLContext | None = None
        self._probing = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Transport:
        self._tls = await asyncio.to_thread(self._settings.tls, self.host)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=16),
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=self._settings.connect_timeout_s,
                sock_read=self._settings.stall_timeout_s,
            ),
            headers={"User-Agent": "swarmlite"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def request(
        self, method: str, path: str, *, scope: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One attempt at `path` below /v2/; a response of status 200 or 206.

        Raises Retryable, or the error itself where trying again cannot help.
        """
        try:
            url = (await self.base()).join(URL(f"/v2/{path}"))
            async with self._authorized(method, url, scope, headers or {}) as response:
                yield response
        except NETWORK_ERRORS as error:
            # Errors of TLS come as errors of connecting too, though somebody is there.
            nobody = isinstance(error, aiohttp.ClientConnectorError) and not isinstance(
                error, aiohttp.ClientSSLError
            )
            raise Retryable(self._unreachable(error), nobody=nobody) from error

    async def base(self) -> URL:
        """https://HOST, or http://HOST where that is allowed and HTTPS is not spoken."""
        async with self._probing:
            if self._base is None:
                self._base = await self._probe()
        return self._base

    async def _probe(self) -> URL:
        """Nothing secret is sent: the scheme is found with a bare GET of /v2/."""
        secure = URL(f"https://{self.host}")
        if not self._settings.is_insecure(self.host) or self._settings.ca_file(self.host):
            return secure
        try:
            async with self._http.get(secure / "v2/", allow_redirects=False):
                return secure
        except aiohttp.ClientConnectorCertificateError:
            raise
        except (aiohttp.ClientSSLError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return URL(f"http://{self.host}")

    @property
    def _http(self) -> aiohttp.ClientSession:
        assert self._session is not None, "used outside of its context"
        return self._session

    @asynccontextmanager
    async def _authorized(
        self, method: str, url: URL, scope: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        used = self._authorization.get(scope)
        async with self._redirected(method, url, used, headers) as response:
            if response.status != 401:
                await self._check(response)
                yield response
                return
            challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
        if self._authorization.get(scope) in (None, used):  # else a parallel request was faster
            self._authorization[scope] = await self._answer(challenges, scope)
        async with self._redirected(method, url, self._authorization[scope], headers) as response:
            await self._check(response)
            yield response

    @asynccontextmanager
    async def _redirected(
        self, method: str, url: URL, authorization: str | None, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        origin = url.origin()
        for _ in range(_MAX_REDIRECTS + 1):
            sent = dict(headers)
            if authorization and url.origin() == origin:
                sent["Authorization"] = authorization
            async with self._http.request(
                method, url, headers=sent, allow_redirects=False
            ) as response:
                if response.status not in _REDIRECTS:
                    yield response
                    return
                target = url.join(URL(response.headers.get("Location", "")))
            if target.scheme not in ("http", "https") or (
                url.scheme == "https" and target.scheme == "http"
            ):
                raise FailedPrecondition(
                    f"registry {self.host} redirects to {str(target)[:100]!r}, which is not HTTPS"
                )
            url = target
        raise FailedPrecondition(f"registry {self.host} redirects without end")

    async def _answer(self, challenges: list[Challenge], scope: str) -> str:
        """The Authorization header that a 401 asks for."""
        base = await self.base()
        for challenge in challenges:
            if challenge.scheme == "bearer":
                return await fetch_token(self._http, base, challenge, scope, self._auth)
        if any(challenge.scheme == "basic" for challenge in challenges):
            if self._auth is None or not self._auth.username:
                raise PermissionDenied(f"registry {self.host} asks for a user name and password")
            return self._auth.basic()
        raise PermissionDenied(
            f"registry {self.host} refuses access and does not say how to log in"
        )

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status in (200, 206):
            return
        why = f"registry {self.host} answers {status} {response.reason or ''}".rstrip()
        if status == 401:
            given = "refuses these credentials" if self._auth else "asks for credentials"
            raise PermissionDenied(f"registry {self.host} {given}")
        if status == 403:
            raise PermissionDenied(f"{why}: these credentials may not read it")
        if status == 404:
            raise NotFound(why)
        if status == 429:
            wait = _seconds(response.headers.get("Retry-After"))
            raise Retryable(ResourceExhausted(f"{why}: too many requests"), wait)
        if status >= 500 or status == 408:
            wait = _seconds(response.headers.get("Retry-After"))
            raise Retryable(Unavailable(why), wait)
        raise FailedPrecondition(why)

    def _unreachable(self, error: BaseException) -> SwarmliteError:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            place = self._settings.certs_dir / self.host / "ca.crt"
            return PermissionDenied(
                f"registry {self.host} has a certificate that is not trusted "
                f"({error.certificate_error}); put its CA into {place}"
            )
        if isinstance(error, asyncio.TimeoutError):
            return Unavailable(f"registry {self.host} does not answer in time")
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Unavailable(f"registry {self.host} does not answer: {why}")

    async def pause(self, failure: Retryable, attempt: int) -> None:
        """Wait before attempt number `attempt` + 1, or raise what failed when there is none."""
        retries = self._settings.retries
        if failure.nobody:
            retries = min(retries, NOBODY_RETRIES)
        if attempt >= retries or isinstance(failure.error, PermissionDenied):
            raise failure.error from failure
        backoff = self._settings.backoff_s * 2**attempt * random.uniform(0.8, 1.2)
        wait = failure.wait_s if failure.wait_s is not None else backoff
        await asyncio.sleep(min(wait, self._settings.max_backoff_s))


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None or not retry_after.strip().isdigit():
        return None
    return float(retry_after.strip()[:6])
