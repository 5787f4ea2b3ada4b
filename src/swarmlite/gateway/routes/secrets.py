"""The endpoints of secrets. Their data comes in, and never goes out."""

from __future__ import annotations

from aiohttp import web

from swarmlite.docker import cluster as docker
from swarmlite.docker.reading.payloads import secret_spec
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.request import Call
from swarmlite.gateway.swarm import ask, filters, one_of_these, taken, version
from swarmlite.proto.control_pb2 import (
    CreateSecretRequest,
    GetRequest,
    ListRequest,
    RemoveRequest,
    UpdateSecretRequest,
)

FILTERS = ("id", "label", "name", "names")


async def secrets(call: Call) -> web.Response:
    """All that pass the filters; `names` are whole ones."""
    names, rest = taken(filters(call, *FILTERS), "names")
    found = await ask(call.backends.control.ListSecrets, ListRequest(filters=rest))
    shown = [s for s in found.secrets if one_of_these(names, s.spec.annotations.name)]
    return call.reply([docker.secret(secret) for secret in shown])


async def create(call: Call) -> web.Response:
    """A new one; answers its id."""
    spec = secret_spec(await call.body())
    if spec.HasField("templating") and not call.at_least(37):
        raise InvalidSpec(
            f"secret templating is not supported on the specified API version: {call.version}"
        )
    made = await ask(call.backends.control.CreateSecret, CreateSecretRequest(spec=spec))
    return call.reply({"ID": made.id}, 201)


async def inspect(call: Call) -> web.Response:
    """One secret, without its data."""
    found = await ask(call.backends.control.GetSecret, GetRequest(ref=call.params["ref"]))
    return call.reply(docker.secret(found))


async def update(call: Call) -> web.Response:
    """New labels."""
    request = UpdateSecretRequest(
        secret_id=call.params["ref"],
        version=version(call, "secret"),
        spec=secret_spec(await call.body()),
    )
    await ask(call.backends.control.UpdateSecret, request)
    return call.empty(200)


async def remove(call: Call) -> web.Response:
    """Gone, unless a service names it."""
    await ask(call.backends.control.RemoveSecret, RemoveRequest(ref=call.params["ref"]))
    return call.empty()


ROUTES: list[Route] = [
    ("GET", "/secrets", secrets),
    ("POST", "/secrets/create", create),
    ("GET", "/secrets/{ref}", inspect),
    ("DELETE", "/secrets/{ref}", remove),
    ("POST", "/secrets/{ref}/update", update),
]
