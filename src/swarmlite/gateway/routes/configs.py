"""The endpoints of configs."""

from __future__ import annotations

from aiohttp import web

from swarmlite.docker import cluster as docker
from swarmlite.docker.reading.payloads import config_spec
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.request import Call
from swarmlite.gateway.swarm import ask, filters, version
from swarmlite.proto.control_pb2 import (
    CreateConfigRequest,
    GetRequest,
    ListRequest,
    RemoveRequest,
    UpdateConfigRequest,
)

FILTERS = ("id", "label", "name")


async def configs(call: Call) -> web.Response:
    """All that pass the filters."""
    request = ListRequest(filters=filters(call, *FILTERS))
    found = await ask(call.backends.control.ListConfigs, request)
    return call.reply([docker.config(config) for config in found.configs])


async def create(call: Call) -> web.Response:
    """A new one; answers its id."""
    spec = config_spec(await call.body())
    if spec.HasField("templating") and not call.at_least(37):
        raise InvalidSpec(
            f"config templating is not supported on the specified API version: {call.version}"
        )
    made = await ask(call.backends.control.CreateConfig, CreateConfigRequest(spec=spec))
    return call.reply({"ID": made.id}, 201)


async def inspect(call: Call) -> web.Response:
    """One config, with its data."""
    found = await ask(call.backends.control.GetConfig, GetRequest(ref=call.params["ref"]))
    return call.reply(docker.config(found))


async def update(call: Call) -> web.Response:
    """New labels."""
    request = UpdateConfigRequest(
        config_id=call.params["ref"],
        version=version(call, "config"),
        spec=config_spec(await call.body()),
    )
    await ask(call.backends.control.UpdateConfig, request)
    return call.empty(200)


async def remove(call: Call) -> web.Response:
    """Gone, unless a service names it."""
    await ask(call.backends.control.RemoveConfig, RemoveRequest(ref=call.params["ref"]))
    return call.empty()


ROUTES: list[Route] = [
    ("GET", "/configs", configs),
    ("POST", "/configs/create", create),
    ("GET", "/configs/{ref}", inspect),
    ("DELETE", "/configs/{ref}", remove),
    ("POST", "/configs/{ref}/update", update),
]
