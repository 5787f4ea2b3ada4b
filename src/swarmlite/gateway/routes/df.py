"""What images, containers and volumes of the host's disk take."""

from __future__ import annotations

import time

from aiohttp import web

from swarmlite.docker import buildcache, image, volume
from swarmlite.docker.summary import summary
from swarmlite.docker.values import Json
from swarmlite.errors import InvalidSpec
from swarmlite.gateway.app import Route
from swarmlite.gateway.fields import containers as container_fields
from swarmlite.gateway.fields import images as image_fields
from swarmlite.gateway.request import Call
from swarmlite.gateway.routes.containers import ALIVE
from swarmlite.gateway.versions import shaped
from swarmlite.proto.build_pb2 import BuildCacheEntry
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.host_pb2 import DiskUsageRequest, DiskUsageResponse

TYPES = ("container", "image", "volume", "build-cache")


async def df(call: Call) -> web.Response:
    """As lists up to 1.51, as sums from 1.52 on, and in 1.52 as both."""
    types = call.texts("type") if call.at_least(42) else []
    for each in types:
        if each not in TYPES:
            raise InvalidSpec(f"unknown object type: {each[:40]}")
    asked = [each for each in types if each != "build-cache"]
    found = DiskUsageResponse()
    if asked or not types:
        found = await call.backends.host.DiskUsage(DiskUsageRequest(types=asked))
    wanted = set(types or TYPES)
    cache: list[BuildCacheEntry] = []
    if "build-cache" in wanted:
        cache = list((await call.backends.builds.ListCache(ListRequest())).entries)
    verbose = call.flag("verbose") and call.at_least(52)
    answer: Json = {}
    if not call.at_least(53) and not verbose:
        answer |= _lists(call, found, wanted, cache)
    if call.at_least(52):
        answer |= _sums(call, found, wanted, cache, verbose=verbose)
    return call.reply(answer)


def _images(call: Call, found: DiskUsageResponse) -> list[Json]:
    shown = [image.summary(i, containers=i.containers, shared_bytes=0) for i in found.images]
    return list(shaped(image_fields.SUMMARY, shown, call.version))


def _containers(call: Call, found: DiskUsageResponse) -> list[Json]:
    now = time.time()
    shown = [summary(each, now, size=True) for each in found.containers]
    return list(shaped(container_fields.SUMMARY, shown, call.version))


def _lists(
    call: Call, found: DiskUsageResponse, wanted: set[str], cache: list[BuildCacheEntry]
) -> Json:
    """Lists of types that were not asked for are null."""
    return {
        "LayersSize": found.layers_bytes,
        "Images": _images(call, found) if "image" in wanted else None,
        "Containers": _containers(call, found) if "container" in wanted else None,
        "Volumes": [volume.usage(v) for v in found.volumes] if "volume" in wanted else None,
        "BuildCache": [buildcache.usage(e) for e in cache] if "build-cache" in wanted else None,
        **({} if call.at_least(42) else {"BuilderSize": sum(e.size_bytes for e in cache)}),
    }


def _sums(
    call: Call,
    found: DiskUsageResponse,
    wanted: set[str],
    cache: list[BuildCacheEntry],
    *,
    verbose: bool,
) -> Json:
    answer: Json = {}
    if "image" in wanted:
        used = sum(1 for each in found.images if each.containers)
        reclaimable = found.images_reclaimable_bytes
        items = _images(call, found) if verbose else []
        answer["ImageUsage"] = _sum(used, len(found.images), found.layers_bytes, reclaimable, items)
    if "container" in wanted:
        alive = [each for each in found.containers if each.state.status in ALIVE]
        total = sum(each.size_rw_bytes for each in found.containers)
        running = sum(each.size_rw_bytes for each in alive)
        items = _containers(call, found) if verbose else []
        answer["ContainerUsage"] = _sum(
            len(alive), len(found.containers), total, total - running, items
        )
    if "volume" in wanted:
        held = [each for each in found.volumes if each.used_by]
        total = sum(each.size_bytes for each in found.volumes)
        free = total - sum(each.size_bytes for each in held)
        items = [volume.usage(each) for each in found.volumes] if verbose else []
        answer["VolumeUsage"] = _sum(len(held), len(found.volumes), total, free, items)
    if "build-cache" in wanted:
        busy = sum(1 for each in cache if each.in_use)
        total = sum(each.size_bytes for each in cache)
        free = sum(each.size_bytes for each in cache if not each.in_use and not each.shared)
        items = [buildcache.usage(each) for each in cache] if verbose else []
        answer["BuildCacheUsage"] = _sum(busy, len(cache), total, free, items)
    return answer


def _sum(active: int, count: int, size_bytes: int, free_bytes: int, items: list[Json]) -> Json:
    return {
        "ActiveCount": active,
        "TotalCount": count,
        "TotalSize": size_bytes,
        "Reclaimable": free_bytes,
        **({"Items": items} if items else {}),
    }


ROUTES: list[Route] = [("GET", "/system/df", df)]
