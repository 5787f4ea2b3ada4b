"""The endpoints of a host as a whole: info and auth."""

from __future__ import annotations

import base64
import json

import grpc
from aiohttp import web

from swarmlite import rpc
from swarmlite.docker import info as docker_info
from swarmlite.errors import PermissionDenied
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.fields import system as fields
from swarmlite.gateway.request import Call
from swarmlite.gateway.swarminfo import swarm_section
from swarmlite.proto.control_pb2 import Empty
from swarmlite.proto.images_pb2 import LoginRequest


async def info(call: Call) -> web.Response:
    """Everything of the host, and its place in a swarm."""
    host = await call.backends.host.Info(Empty())
    shown = docker_info.info(host)
    shown["Swarm"] = await swarm_section(call, host)
    return call.reply(shown, fields=fields.INFO)


async def auth(call: Call) -> web.Response:
    """Whether a registry takes these credentials."""
    body = await call.body()
    document = {
        key: body.text(key)
        for key in ("username", "password", "auth", "identitytoken", "serveraddress")
    }
    sent = base64.urlsafe_b64encode(json.dumps(document).encode()).decode()
    try:
        done = await call.backends.images.Login(LoginRequest(registry_auth=sent))
    except grpc.RpcError as error:
        meant = rpc.translate(error, "the node")
        if isinstance(meant, PermissionDenied):
            raise Refused(401, str(meant)) from error
        raise
    return call.reply({"Status": done.status, "IdentityToken": done.identity_token})


ROUTES: list[Route] = [
    ("GET", "/info", info),
    ("POST", "/auth", auth),
]
