"""The endpoints of volumes."""

from __future__ import annotations

from aiohttp import web

from swarmlite.docker import volume
from swarmlite.docker.reading.volume import volume as wanted
from swarmlite.gateway.app import Route
from swarmlite.gateway.fields import volumes as fields
from swarmlite.gateway.request import Call, not_there
from swarmlite.proto.containers_pb2 import PruneRequest
from swarmlite.proto.control_pb2 import Filter, GetRequest, ListRequest
from swarmlite.proto.volumes_pb2 import RemoveVolumeRequest

NAMED_TOO = 41
"""Up to 1.41 a prune takes named volumes as well."""


async def every(call: Call) -> web.Response:
    """All that pass."""
    found = await call.backends.volumes.List(ListRequest(filters=call.filters()))
    shown = [volume.inspect(each) for each in found.volumes]
    return call.reply({"Volumes": shown, "Warnings": None}, fields=fields.LIST)


async def create(call: Call) -> web.Response:
    """A volume, or the one of this name that is there."""
    made = await call.backends.volumes.Create(wanted(await call.body()))
    return call.reply(volume.inspect(made), 201, fields=fields.VOLUME)


async def inspect(call: Call) -> web.Response:
    """One."""
    found = await call.backends.volumes.Inspect(GetRequest(ref=call.params["name"]))
    return call.reply(volume.inspect(found), fields=fields.VOLUME)


async def update(call: Call) -> web.Response:
    """Of cluster volumes only, which are not there."""
    raise not_there("updating a volume (only cluster volumes can be)")


async def remove(call: Call) -> web.Response:
    """One that no container uses."""
    request = RemoveVolumeRequest(ref=call.params["name"], force=call.flag("force"))
    await call.backends.volumes.Remove(request)
    return call.empty()


async def prune(call: Call) -> web.Response:
    """Those that nothing uses."""
    filters = call.filters()
    if not call.at_least(NAMED_TOO + 1) and not any(f.key == "all" for f in filters):
        filters.append(Filter(key="all", values=["true"]))
    done = await call.backends.volumes.Prune(PruneRequest(filters=filters))
    return call.reply(
        {"VolumesDeleted": list(done.deleted), "SpaceReclaimed": done.reclaimed_bytes}
    )


ROUTES: list[Route] = [
    ("GET", "/volumes", every),
    ("POST", "/volumes/create", create),
    ("POST", "/volumes/prune", prune),
    ("GET", "/volumes/{name}", inspect),
    ("PUT", "/volumes/{name}", update),
    ("DELETE", "/volumes/{name}", remove),
]
