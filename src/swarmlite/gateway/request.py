"""What a handler sees of a request: its version, path, query, body, and how to answer.

Queries are read as Go's server reads them: booleans are false when empty, 0, no, false or none in
whatever case, and true otherwise; filters come in two forms.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from swarmlite.docker.fields import Fields, kind
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.backends import Backends
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.settings import Settings
from swarmlite.gateway.versions import Table, Version, shaped
from swarmlite.proto.control_pb2 import Filter

# As Go's server has it: dockerode repeats a service's whole spec in the query of its update.
MAX_HEAD_BYTES = 1 << 20
MAX_BODY_BYTES = 16 * 1024 * 1024
"""Of a JSON body; archives are streams, and are not counted."""
_FALSE = ("", "0", "no", "false", "none")
_STRICT = {
    **dict.fromkeys(("", "0", "f", "F", "false", "False", "FALSE"), False),
    **dict.fromkeys(("1", "t", "T", "true", "True", "TRUE"), True),
}
JSON_TYPE = {"Content-Type": "application/json"}


class Call:
    """One request, as handlers see it."""

    def __init__(
        self,
        http: web.BaseRequest,
        version: Version,
        params: Mapping[str, str],
        backends: Backends,
        settings: Settings,
    ) -> None:
        """`params` are the path's, decoded."""
        self.http, self.version, self.params = http, version, params
        self.backends, self.settings = backends, settings

    def at_least(self, minor: int) -> bool:
        """Whether the client speaks 1.minor or later."""
        return self.version >= (1, minor)

    # the query
    def text(self, name: str, default: str = "") -> str:
        """A parameter's first value."""
        return self.http.query.get(name, default)

    def texts(self, name: str) -> list[str]:
        """Every value of a repeated parameter."""
        return self.http.query.getall(name, [])

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean, as Go's server reads it."""
        value = self.http.query.get(name)
        return default if value is None else value.strip().lower() not in _FALSE

    def strict_flag(self, name: str) -> bool:
        """One that says true or false, as the swarm's endpoints read it. Raises InvalidSpec."""
        value = self.http.query.get(name, "")
        if value not in _STRICT:
            raise InvalidSpec(f"invalid value for {name}: {value[:40]}")
        return _STRICT[value]

    def number(self, name: str, default: int | None = None) -> int | None:
        """A whole number; the default when it is absent or empty. Raises InvalidSpec."""
        value = self.http.query.get(name, "")
        if not value:
            return default
        try:
            return int(value)
        except ValueError as error:
            raise InvalidSpec(f"{name}: {value!r} is not a number") from error

    def filters(self, name: str = "filters") -> list[Filter]:
        """`{"label": {"a=b": true}}` or `{"label": ["a=b"]}`. Raises InvalidSpec."""
        text = self.http.query.get(name, "")
        if not text:
            return []
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidSpec(f"invalid filter: {name} is not JSON: {error}") from error
        if found is None:
            return []
        if not isinstance(found, dict):
            raise InvalidSpec(f"invalid filter: expected an object, not {kind(found)}")
        return [Filter(key=key, values=_filter_values(key, value)) for key, value in found.items()]

    # the body
    async def body(self) -> Fields:
        """The JSON object that was sent; an empty one without a body. Raises InvalidSpec."""
        return Fields.of(await self.json())

    async def json(self) -> Any:
        """The JSON that was sent; None without a body. Raises InvalidSpec."""
        try:
            data = await self.http.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise InvalidSpec(f"the request body has more than {MAX_BODY_BYTES} bytes") from error
        if not data.strip():
            return None
        sent_as = self.http.headers.get("Content-Type", "")
        if self.http.content_type not in ("application/json", "text/json"):
            raise InvalidSpec(
                f"unsupported Content-Type header ({sent_as}): must be 'application/json'"
            )
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidSpec(f"invalid JSON: {error}") from error

    # headers
    def auth_header(self, name: str = "X-Registry-Auth") -> dict[str, Any]:
        """The credentials that were sent, empty without any. Raises InvalidSpec."""
        text = self.http.headers.get(name, "")
        if not text:
            return {}
        try:
            # Both alphabets, with and without padding, as clients send them.
            plain = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
            found = json.loads(base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4)) or b"{}")
        except (ValueError, RecursionError) as error:
            raise InvalidSpec(f"invalid {name} header: {error}") from error
        if found is not None and not isinstance(found, dict):
            raise InvalidSpec(f"invalid {name} header: expected an object, not {kind(found)}")
        return found or {}

    # answers
    def reply(self, value: Any, status: int = 200, *, fields: Table | None = None) -> web.Response:
        """JSON, without the fields that the client's version does not have."""
        if fields is not None:
            value = shaped(fields, value, self.version)
        return self.json_text(encoded(value), status)

    def json_text(self, text: bytes, status: int = 200) -> web.Response:
        """JSON that is written already."""
        return web.Response(status=status, body=text, headers=JSON_TYPE)

    async def stream(
        self, content_type: str = "application/json", status: int = 200
    ) -> web.StreamResponse:
        """An answer in chunks whose headers have been sent: `write` to it, and return it.

        What goes wrong from here on cannot change the status any more.
        """
        response = web.StreamResponse(status=status, headers={"Content-Type": content_type})
        await response.prepare(self.http)
        return response

    def empty(self, status: int = 204) -> web.Response:
        """No body."""
        return web.Response(status=status)


def encoded(value: Any) -> bytes:
    """JSON as Docker's server writes it: a newline behind."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _filter_values(key: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        # {"x": false} was never a filter, but Go's server keeps the key.
        return [str(name) for name in value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(value)
    if isinstance(value, str | bool | int):  # docker-py's dicts of scalars
        return [str(value).lower() if isinstance(value, bool) else str(value)]
    raise InvalidSpec(f"invalid filter: {key}: expected strings, not {kind(value)}")


def not_there(what: str) -> Refused:
    """501 for what is not served at all."""
    return Refused(501, f"{what} is not supported by swarmlite")
