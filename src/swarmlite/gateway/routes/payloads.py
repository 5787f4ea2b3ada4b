"""The endpoints of secrets and of configs, which differ in what is shown of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from swarmlite.docker.fields import Fields
from swarmlite.docker.values import Json
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.request import Call
from swarmlite.gateway.swarm import ask, filters, one_of_these, taken, version
from swarmlite.proto import control_pb2
from swarmlite.proto.control_pb2 import GetRequest, ListRequest, RemoveRequest


@dataclass(frozen=True)
class Kind:
    """One of the two: `word` is `secret` or `config`."""

    word: str
    filters: tuple[str, ...]
    shown: Callable[[Any], Json]
    spec: Callable[[Fields], Any]

    def method(self, call: Call, verb: str, *, many: bool = False) -> Any:
        """The managers' call: CreateSecret, ListConfigs."""
        return getattr(call.backends.control, f"{verb}{self.word.capitalize()}{'s' * many}")

    def request(self, verb: str, **fields: Any) -> Any:
        """The message of such a call."""
        return getattr(control_pb2, f"{verb}{self.word.capitalize()}Request")(**fields)


def routes(kind: Kind) -> list[Route]:
    """What answers for a kind."""

    async def every(call: Call) -> web.Response:
        """All that pass the filters; `names` are whole ones."""
        names, rest = taken(filters(call, *kind.filters), "names")
        listing = kind.method(call, "List", many=True)
        found = getattr(await ask(listing, ListRequest(filters=rest)), f"{kind.word}s")
        shown = [one for one in found if one_of_these(names, one.spec.annotations.name)]
        return call.reply([kind.shown(one) for one in shown])

    async def create(call: Call) -> web.Response:
        """A new one; answers its id."""
        spec = kind.spec(await call.body())
        if spec.HasField("templating") and not call.at_least(37):
            raise InvalidSpec(
                f"{kind.word} templating is not supported on the specified API version:"
                f" {call.version}"
            )
        made = await ask(kind.method(call, "Create"), kind.request("Create", spec=spec))
        return call.reply({"ID": made.id}, 201)

    async def inspect(call: Call) -> web.Response:
        """One of them; of a secret without its data."""
        found = await ask(kind.method(call, "Get"), GetRequest(ref=call.params["ref"]))
        return call.reply(kind.shown(found))

    async def update(call: Call) -> web.Response:
        """New labels."""
        of = {f"{kind.word}_id": call.params["ref"], "version": version(call, kind.word)}
        spec = kind.spec(await call.body())
        await ask(kind.method(call, "Update"), kind.request("Update", spec=spec, **of))
        return call.empty(200)

    async def remove(call: Call) -> web.Response:
        """Gone, unless a service names it."""
        await ask(kind.method(call, "Remove"), RemoveRequest(ref=call.params["ref"]))
        return call.empty()

    return [
        ("GET", f"/{kind.word}s", every),
        ("POST", f"/{kind.word}s/create", create),
        ("GET", f"/{kind.word}s/{{ref}}", inspect),
        ("DELETE", f"/{kind.word}s/{{ref}}", remove),
        ("POST", f"/{kind.word}s/{{ref}}/update", update),
    ]
