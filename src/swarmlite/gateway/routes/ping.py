"""What every client asks first: whether somebody is there, and of which version.

It loads nothing else, so that a process that was just started answers soon.
"""

from __future__ import annotations

import platform

from aiohttp import web

from swarmlite import __version__
from swarmlite.client import membership
from swarmlite.gateway.app import Route
from swarmlite.gateway.fields import system as fields
from swarmlite.gateway.request import Call

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


async def ping(call: Call) -> web.Response:
    """OK, and in headers what a client negotiates by."""
    paths = call.settings.paths
    state = "inactive"
    if membership.in_swarm(paths):
        state = "active/manager" if membership.is_manager(paths) else "active/worker"
        state = "locked" if membership.is_locked(paths) else state
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


ROUTES: list[Route] = [
    ("GET", "/_ping", ping),
    ("HEAD", "/_ping", ping),
    ("GET", "/version", version),
]
