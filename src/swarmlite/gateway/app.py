"""From a request to its handler, and from whatever happens there to an answer.

A path is looked up by its first segment; the file of that group is loaded when it is first asked,
so that a process that only answers `_ping` loads nothing else. Each file of `routes/` exports
`ROUTES`: a list of (method, path, handler). In a path, `{name}` is one segment and `{name:path}`
any number of them.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote

import grpc
from aiohttp import web

from swarmlite import __version__, rpc
from swarmlite.errors import InvalidSpec, SwarmliteError
from swarmlite.gateway.backends import Backends
from swarmlite.gateway.errors import Refused, answer, status_of
from swarmlite.gateway.request import MAX_BODY_BYTES, MAX_HEAD_BYTES, Call
from swarmlite.gateway.settings import Settings
from swarmlite.gateway.streams.connection import Connection, Hijacked, Listener
from swarmlite.gateway.versions import Version

log = logging.getLogger(__name__)

_VERSION = re.compile(r"/v([0-9][0-9.]*)(/.*)")
Handler = Callable[[Call], Awaitable[web.StreamResponse]]
Route = tuple[str, str, Handler]

GROUPS = {
    **dict.fromkeys(("_ping", "version"), "ping"),
    **{"info": "system", "auth": "system", "events": "events", "system": "df"},
    **dict.fromkeys(("plugins", "session", "grpc"), "absent"),
    **dict.fromkeys(("build", "commit"), "build"),
    **{"containers": "containers", "images": "images", "exec": "exec"},
    **{"networks": "networks", "volumes": "volumes", "distribution": "distribution"},
    **{"swarm": "swarm", "nodes": "nodes", "services": "services", "tasks": "tasks"},
    **{"secrets": "secrets", "configs": "configs", "swarmlite": "tunnel"},
}
"""First segments of paths, and the files of `routes/` that answer them."""

ENGINELESS = frozenset(
    {"_ping", "version", "plugins", "session", "grpc", "swarmlite"}
    | {"swarm", "nodes", "services", "tasks", "secrets", "configs"}
)
"""What is answered whether the engine of this host runs or not."""

KEEP_ALIVE_S = 3600.0
"""Docker never ends an idle connection, and some clients take that for granted."""


class Gateway:
    """Answers requests; one for the life of the process."""

    def __init__(self, settings: Settings, backends: Backends) -> None:
        """`server` is what listens."""
        self._settings, self._backends = settings, backends
        self._headers = {
            "Api-Version": str(settings.newest),
            "Docker-Experimental": "false",
            "Ostype": "linux",
            "Server": f"swarmlite/{__version__} (linux)",
        }
        self.server = Listener(
            self.handle,
            request_factory=self._request,
            # A client that goes away ends its stream; changes that it asked for are done.
            handler_cancellation=True,
            keepalive_timeout=KEEP_ALIVE_S,
            access_log=None,
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
        )

    def _request(
        self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any
    ) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        made = _Request(
            message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY_BYTES
        )
        made.common = self._headers
        return made

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer, whatever happens."""
        try:
            response = await self._handled(request)
        except SwarmliteError as error:
            response = self._refusal(request, error)
        except grpc.RpcError as error:
            # `AioRpcError`; translated here once for all handlers.
            response = self._refusal(request, rpc.translate(error, "the node"))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            log.exception("request failed path=%s", request.path)
            response = answer(500, f"internal error: {type(error).__name__}; see gateway.log")
        if isinstance(request.protocol, Connection) and not isinstance(response, Hijacked):
            request.protocol.decline()
        return response

    def _refusal(self, request: web.BaseRequest, error: SwarmliteError) -> web.StreamResponse:
        message = str(error)
        if message.startswith("--"):
            # Loaded by the first that needs it: no list and no stream does.
            from swarmlite.gateway.flags import by_field

            path = _VERSION.sub(r"\2", request.rel_url.raw_path)
            message = by_field(path.lstrip("/").partition("/")[0], message)
        if message.startswith("no such image"):
            message = f"N{message[1:]}"  # clients look for Docker's words
        return answer(status_of(error), message)

    async def _handled(self, request: web.BaseRequest) -> web.StreamResponse:
        version, path = self._version(request.rel_url.raw_path)
        if request.method == "OPTIONS":
            return web.Response()
        for method, pattern, handler in routes(path.lstrip("/").partition("/")[0]):
            if method == request.method and (found := pattern.fullmatch(path)):
                params = {name: unquote(text) for name, text in found.groupdict().items()}
                call = Call(request, version, params, self._backends, self._settings)
                if path.lstrip("/").partition("/")[0] not in ENGINELESS:
                    await self._backends.engine_started()
                return await handler(call)
        raise Refused(404, "page not found")

    def _version(self, path: str) -> tuple[Version, str]:
        """The version that is asked for, and the path behind it. Raises InvalidSpec."""
        found = _VERSION.match(path)
        if not found:
            return self._settings.newest, path
        version = Version.parse(found[1])
        if version < self._settings.oldest:
            raise InvalidSpec(
                f"client version {version} is too old. Minimum supported API version is"
                f" {self._settings.oldest}, please upgrade your client to a newer version"
            )
        if version > self._settings.newest:
            raise InvalidSpec(
                f"client version {version} is too new. Maximum supported API version is"
                f" {self._settings.newest}"
            )
        return version, found[2]


class _Request(web.BaseRequest):
    """A request whose answer, of whatever kind, bears the server's headers."""

    common: Mapping[str, str] = {}

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.update(self.common)


@cache
def routes(segment: str) -> list[tuple[str, re.Pattern[str], Handler]]:
    """The compiled routes of the group that answers paths with this first segment."""
    group = GROUPS.get(segment)
    if group is None:
        return []
    table: list[Route] = importlib.import_module(f"swarmlite.gateway.routes.{group}").ROUTES
    return [(method, compiled(path), handler) for method, path, handler in table]


def compiled(path: str) -> re.Pattern[str]:
    """A path of a table as a pattern: a trailing slash is tolerated."""
    pattern = re.sub(r"\{(\w+):path\}", r"(?P<\1>.+)", path)
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern) + "/?")
