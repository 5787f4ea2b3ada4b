"""HTTP to one registry: scheme, TLS, credentials, redirects, retries.

Credentials go to the registry itself and, for a token, to a token server of the same site; a
redirect or realm that names another host gets none.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

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
from swarmlite.storage.images.encodings import steady
from swarmlite.storage.images.settings import RegistrySettings
from swarmlite.storage.images.token import Challenge, fetch_token, parse_challenges

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
NOBODY_RETRIES = 2
NETWORK_ERRORS = (aiohttp.ClientError, asyncio.TimeoutError, ConnectionError)


READ = frozenset({200, 206})
Body = Callable[[], Any]


@dataclass(frozen=True)
class _Call:
    method: str
    headers: dict[str, str]
    body: Body | None
    expected: frozenset[int]
    answer_s: float


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

    def __init__(
        self,
        host: str,
        auth: RegistryAuth | None,
        settings: RegistrySettings,
        base: URL | None = None,
    ) -> None:
        """`base`: scheme and authority, where they are known; else HTTPS is tried first."""
        self.host = host
        self._auth = auth
        self._settings = settings
        self._base = base
        self.offline = False
        """Whether token servers are asked for an identity token too."""
        self.identity_token = ""
        self._authorization: dict[str, str] = {}
        self._tls: ssl.SSLContext | None = None
        self._others: dict[str, ssl.SSLContext] = {}
        self._probing = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Transport:
        self._tls = await asyncio.to_thread(self._settings.tls, self.host)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=16),
            timeout=self._timeout(),
            headers={"User-Agent": "swarmlite", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    def _timeout(self, answer_s: float = 0.0) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(
            total=None,
            sock_connect=self._settings.connect_timeout_s,
            sock_read=answer_s or self._settings.stall_timeout_s,
        )

    @property
    def stall_timeout_s(self) -> float:
        """How long nothing may move."""
        return self._settings.stall_timeout_s

    @property
    def slow_window_s(self) -> float:
        """How long an answer may drip."""
        return 4 * self._settings.stall_timeout_s

    def steady(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """An answer piece by piece; see encodings.steady."""
        return steady(response, self.slow_window_s, self._settings.slowest_bytes_s)

    async def _tls_for(self, url: URL) -> ssl.SSLContext:
        """Of the registry itself; whoever it sends us to is checked by the rules of that host."""
        assert self._tls is not None, "used outside of its context"
        host = url.authority
        if host == self.host or url.scheme != "https" or self._settings.is_insecure(self.host):
            return self._tls
        if host not in self._others:
            self._others[host] = await asyncio.to_thread(self._settings.tls, host)
        return self._others[host]

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str | URL,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        expected: frozenset[int] = READ,
        answer_s: float = 0.0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One attempt at `path` below /v2/, or at a URL; a response of an `expected` status.

        `body` makes what is sent once more each time: after a 401 or a redirect it is sent again.
        `answer_s`: how long to wait for an answer, where that is not the settings' time.
        Raises Retryable, or the error itself where trying again cannot help.
        """
        call = _Call(method, dict(headers or {}), body, expected, answer_s)
        try:
            url = (await self.base()).join(URL(f"/v2/{path}")) if isinstance(path, str) else path
            async with self._authorized(call, url, scope) as response:
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
            proxy = self._settings.proxy_for(secure)
            async with self._http.get(secure / "v2/", allow_redirects=False, proxy=proxy):
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
        self, call: _Call, url: URL, scope: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        used = self._authorization.get(scope)
        async with self._redirected(call, url, used) as response:
            if response.status != 401:
                await self._check(response, call.expected)
                yield response
                return
            challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
        if self._authorization.get(scope) in (None, used):  # else a parallel request was faster
            self._authorization[scope] = await self._answer(challenges, scope)
        async with self._redirected(call, url, self._authorization[scope]) as response:
            await self._check(response, call.expected)
            yield response

    @asynccontextmanager
    async def _redirected(
        self, call: _Call, url: URL, authorization: str | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        origin = (await self.base()).origin()
        for _ in range(_MAX_REDIRECTS + 1):
            sent = dict(call.headers)
            if authorization and url.origin() == origin:
                sent["Authorization"] = authorization
            async with self._http.request(
                call.method,
                url,
                headers=sent,
                data=call.body() if call.body else None,
                allow_redirects=False,
                ssl=await self._tls_for(url),
                timeout=self._timeout(call.answer_s),
                proxy=self._settings.proxy_for(url),
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
        raise FailedPrecondition(f"registry {self.host} redirects too often")

    async def _answer(self, challenges: list[Challenge], scope: str) -> str:
        """The Authorization header that a 401 asks for."""
        base = await self.base()
        for challenge in challenges:
            if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                realm = URL(challenge.parameters["realm"])
                connecting = {
                    "proxy": self._settings.proxy_for(realm),
                    "ssl": await self._tls_for(realm),
                }
                header, refresh = await fetch_token(
                    self._http,
                    base,
                    challenge,
                    scope,
                    self._auth,
                    strict=self._settings.strict_token_servers,
                    connecting=connecting,
                    offline=self.offline,
                )
                self.identity_token = refresh or self.identity_token
                return header
        if any(challenge.scheme == "basic" for challenge in challenges):
            if self._auth is None or not self._auth.username:
                raise PermissionDenied(f"registry {self.host} asks for a user name and password")
            return self._auth.basic()
        raise PermissionDenied(
            f"registry {self.host} refuses access and does not say how to log in"
        )

    async def _check(self, response: aiohttp.ClientResponse, expected: frozenset[int]) -> None:
        status = response.status
        if status in expected:
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
        if isinstance(error, aiohttp.ClientConnectorError) and error.os_error is not None:
            error = error.os_error  # aiohttp's own text shows its objects
            why = str(getattr(error, "strerror", None) or error)
            return Unavailable(f"registry {self.host} does not answer: {why}")
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
        wait = min(backoff, self._settings.max_backoff_s)
        if failure.wait_s is not None:
            wait = min(failure.wait_s, self._settings.max_told_s)
        await asyncio.sleep(wait)


def _seconds(retry_after: str | None) -> float | None:
    """What Retry-After says: seconds, or a date. Source: RFC 9110, section 10.2.3."""
    text = (retry_after or "").strip()
    if text.isdecimal():
        return float(text[:6])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(moment.timestamp() - time.time(), 0.0) if moment.tzinfo else None
