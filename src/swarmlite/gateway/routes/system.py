"""The endpoints of a host as a whole: ping, version, info, auth, df, events."""

from __future__ import annotations

import base64
import json
import platform

import grpc
from aiohttp import web

from swarmlite import __version__, rpc
from swarmlite.docker import info as docker_info
from swarmlite.errors import PermissionDenied
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.fields import system as fields
from swarmlite.gateway.request import Call
from swarmlite.gateway.routes import df, events
from swarmlite.gateway.swarminfo import swarm_section
from swarmlite.proto.control_pb2 import Empty
from swarmlite.proto.images_pb2 import LoginRequest

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


async def ping(call: Call) -> web.Response:
    """OK, and in headers what a client negotiates by."""
    from swarmlite.client import membership

    paths = call.settings.paths
    state = "inactive"
    if membership.in_swarm(paths):
        state = "active/manager" if membership.is_manager(paths) else "active/worker"
    return web.Response(
        body=b"" if call.http.method == "HEAD" else b"OK",
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "Builder-Version": "1",
            "Swarm": state,
            "Cache-Control": "no-cache, no-store, must-revalidate",
            "Pragma": "no-cache",
        },
    )


async def version(call: Call) -> web.Response:
    """Ours, and the versions of the API that are served."""
    settings, host = call.settings, platform.uname()
    about = {
        "Version": __version__,
        "ApiVersion": str(settings.newest),
        "MinAPIVersion": str(settings.oldest),
        "GitCommit": "none",
        "GoVersion": "none",
        "Os": "linux",
        "Arch": ARCHITECTURES.get(host.machine, host.machine),
        "KernelVersion": host.release,
        "BuildTime": "",
    }
    engine = {
        "Name": "Engine",
        "Version": __version__,
        "Details": {**about, "Experimental": "false"},
    }
    return call.reply(
        {"Platform": {"Name": "swarmlite"}, "Components": [engine], **about},
        fields=fields.VERSION,
    )


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
    ("GET", "/_ping", ping),
    ("HEAD", "/_ping", ping),
    ("GET", "/version", version),
    ("GET", "/info", info),
    ("POST", "/auth", auth),
    *df.ROUTES,
    *events.ROUTES,
]
