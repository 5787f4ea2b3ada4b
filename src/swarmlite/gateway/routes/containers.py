"""The endpoints of containers: made, started, ended, looked at. Streams are in `attach`."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from swarmlite.docker import container as shapes
from swarmlite.docker.reading import container as reading
from swarmlite.docker.reading import resources
from swarmlite.docker.reading.containerversions import as_meant
from swarmlite.docker.reading.platform import platform_object
from swarmlite.docker.statuses import status
from swarmlite.docker.summary import lasting
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.fields import containers as fields
from swarmlite.gateway.rendered import Rendered, array, with_fields
from swarmlite.gateway.request import Call
from swarmlite.gateway.routes import archive, attach, exec, logs, usage, wait
from swarmlite.gateway.routes.terminals import resizing
from swarmlite.gateway.versions import shaped
from swarmlite.proto import containers_pb2 as pb

ALIVE = (
    pb.ContainerState.RUNNING,
    pb.ContainerState.PAUSED,
    pb.ContainerState.RESTARTING,
)
EMPTY_OBJECT_BYTES = 7
"""What a body of a start may have: clients send "{}" or "null", which say nothing."""
_rendered = Rendered()


async def listed(call: Call) -> web.Response:
    """Those that run, or all."""
    request = pb.ListContainersRequest(
        all=call.flag("all"),
        # docker-py sends -1 for no limit.
        limit=max(0, call.number("limit") or 0),
        size=call.flag("size"),
        filters=call.filters(),
    )
    for key in ("since", "before"):
        if call.text(key):
            request.filters.add(key=key, values=[call.text(key)])
    found = (await call.backends.containers.List(request)).containers
    now = time.time()
    texts = (_json(call, each, size=request.size) for each in found)
    return call.json_text(
        array(
            with_fields(text, {"Status": status(each.state, now)})
            for each, text in zip(found, texts, strict=True)
        )
    )


def _json(call: Call, container: pb.Container, *, size: bool) -> bytes:
    """Its entry of the list, but for how long it has been what it is."""

    def made() -> Any:
        entry = lasting(container, size=size)
        short_id_among_aliases(call, container, entry["NetworkSettings"])
        return shaped(fields.SUMMARY, [entry], call.version)[0]

    return _rendered.json(container, (call.version, size), made)


def short_id_among_aliases(call: Call, container: pb.Container, settings: dict[str, Any]) -> None:
    """Before 1.45 aliases on a network of a user's own had the container's short id."""
    if call.at_least(45):
        return
    for name, place in settings["Networks"].items():
        if name not in ("bridge", "host", "none") and not name.startswith("container:"):
            short = container.id[:12]
            place["Aliases"] = list(dict.fromkeys([*(place["Aliases"] or ()), short]))


async def create(call: Call) -> web.Response:
    """One that has not been started."""
    sent = await call.body()
    platform = _platform(call.text("platform")) if call.at_least(41) else ""
    config = reading.create(sent, call.text("name"), platform)
    warnings = as_meant(config, sent, call.version.minor)
    made = await call.backends.containers.Create(pb.CreateContainerRequest(config=config))
    return call.reply({"Id": made.id, "Warnings": [*made.warnings, *warnings]}, 201)


def _platform(text: str) -> str:
    """os/arch/variant; newer clients send the object of the OCI."""
    if not text.startswith("{"):
        return text
    found = platform_object(text)
    return "/".join(filter(None, (found["os"], found["architecture"])))


async def inspect(call: Call) -> web.Response:
    """Everything of one."""
    size = call.flag("size")
    request = pb.InspectContainerRequest(ref=name(call), size=size)
    found = await call.backends.containers.Inspect(request)
    answer = shapes.inspect(found, size=size)
    short_id_among_aliases(call, found, answer["NetworkSettings"])
    if not call.at_least(42):
        answer["HostConfig"] |= {"KernelMemory": 0, "KernelMemoryTCP": 0}
    if not call.at_least(52) and (mac := shapes.asked_mac(found)):
        answer["Config"]["MacAddress"] = mac
    return call.reply(answer, fields=fields.INSPECT)


def name(call: Call) -> str:
    """The container that the path names; docker-py's users write "/web" as inspect shows it."""
    return call.params["name"].removeprefix("/")


async def _state(call: Call) -> pb.ContainerState:
    found = await call.backends.containers.Inspect(pb.InspectContainerRequest(ref=name(call)))
    state: pb.ContainerState = found.state
    return state


async def start(call: Call) -> web.Response:
    """204, or 304 when it runs already."""
    length = call.http.content_length
    if call.http.body_exists and (length is None or length > EMPTY_OBJECT_BYTES):
        raise InvalidSpec(
            "starting container with non-empty request body was deprecated since API v1.22 and"
            " removed in v1.24"
        )
    state = await _state(call)
    if state.status == pb.ContainerState.RUNNING:
        return call.empty(304)
    await call.backends.containers.Start(pb.ContainerRef(ref=name(call)))
    return call.empty()


async def stop(call: Call) -> web.Response:
    """204, or 304 when it does not run."""
    if (await _state(call)).status not in ALIVE:
        return call.empty(304)
    await call.backends.containers.Stop(_stopping(call))
    return call.empty()


async def restart(call: Call) -> web.Response:
    """Stop and start."""
    await call.backends.containers.Restart(_stopping(call))
    return call.empty()


def _stopping(call: Call) -> pb.StopContainerRequest:
    signal = call.text("signal") if call.at_least(42) else ""
    return pb.StopContainerRequest(ref=name(call), signal=signal, timeout_s=call.number("t"))


async def kill(call: Call) -> web.Response:
    """A signal."""
    request = pb.KillContainerRequest(ref=name(call), signal=call.text("signal"))
    await call.backends.containers.Kill(request)
    return call.empty()


async def pause(call: Call) -> web.Response:
    """Freeze it."""
    await call.backends.containers.Pause(pb.ContainerRef(ref=name(call)))
    return call.empty()


async def unpause(call: Call) -> web.Response:
    """Let it go on."""
    await call.backends.containers.Unpause(pb.ContainerRef(ref=name(call)))
    return call.empty()


async def rename(call: Call) -> web.Response:
    """Another name."""
    request = pb.RenameContainerRequest(ref=name(call), name=call.text("name").removeprefix("/"))
    await call.backends.containers.Rename(request)
    return call.empty()


async def update(call: Call) -> web.Response:
    """Its limits and its restart policy."""
    body = await call.body()
    asked = resources.changes(body, call.version.minor)
    request = pb.UpdateContainerRequest(ref=name(call), resources=asked)
    if body.object("RestartPolicy").text("Name"):
        request.restart.CopyFrom(resources.restart_policy(body.object("RestartPolicy")))
    done = await call.backends.containers.Update(request)
    return call.reply({"Warnings": list(done.warnings) or None})


async def remove(call: Call) -> web.Response:
    """Take it away, and with `v` its anonymous volumes; with `link` another's link to it."""
    if call.flag("link"):
        raise InvalidSpec("a link is named by CONTAINER/ALIAS")
    request = pb.RemoveContainerRequest(
        ref=name(call), force=call.flag("force"), volumes=call.flag("v")
    )
    await call.backends.containers.Remove(request)
    return call.empty()


async def unlink(call: Call) -> web.Response:
    """A link of one, by CONTAINER/ALIAS."""
    if not call.flag("link"):
        raise Refused(404, "page not found")
    request = pb.RemoveContainerRequest(ref=name(call), link=call.params["alias"])
    await call.backends.containers.Remove(request)
    return call.empty()


async def prune(call: Call) -> web.Response:
    """Remove what does not run."""
    done = await call.backends.containers.Prune(pb.PruneRequest(filters=call.filters()))
    return call.reply(
        {"ContainersDeleted": list(done.deleted), "SpaceReclaimed": done.reclaimed_bytes}
    )


async def resize(call: Call) -> web.Response:
    """The terminal's size."""
    await call.backends.containers.Resize(resizing(call, name(call)))
    return call.empty(200)


ROUTES: list[Route] = [
    ("GET", "/containers/json", listed),
    ("POST", "/containers/create", create),
    ("POST", "/containers/prune", prune),
    ("GET", "/containers/{name}/json", inspect),
    ("POST", "/containers/{name}/start", start),
    ("POST", "/containers/{name}/stop", stop),
    ("POST", "/containers/{name}/restart", restart),
    ("POST", "/containers/{name}/kill", kill),
    ("POST", "/containers/{name}/pause", pause),
    ("POST", "/containers/{name}/unpause", unpause),
    ("POST", "/containers/{name}/rename", rename),
    ("POST", "/containers/{name}/update", update),
    ("POST", "/containers/{name}/resize", resize),
    ("DELETE", "/containers/{name}", remove),
    ("DELETE", "/containers/{name}/{alias}", unlink),
    *archive.ROUTES,
    *attach.ROUTES,
    *exec.CREATE,
    *logs.ROUTES,
    *usage.ROUTES,
    *wait.ROUTES,
]
