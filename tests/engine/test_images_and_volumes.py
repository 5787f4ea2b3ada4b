"""Images and volumes through the engine's socket: looked at, tagged, pruned, kept while used."""

from __future__ import annotations

import json
from typing import Any

import grpc
from engine_host import SLEEP, TIMEOUT_S, EngineHost

from swarmlite.proto.containers_pb2 import PruneRequest
from swarmlite.proto.control_pb2 import Filter, GetRequest, ListRequest
from swarmlite.proto.host_pb2 import DiskUsageRequest
from swarmlite.proto.images_pb2 import RemoveImageRequest, TagImageRequest
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount
from swarmlite.proto.volumes_pb2 import LocalVolume, RemoveVolumeRequest

FAILED = grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


def asked(**filters: str | list[str]) -> ListRequest:
    """A list with filters; a trailing _ stands for an exclamation mark."""
    entries = [
        Filter(key=key.replace("_", "!"), values=[value] if isinstance(value, str) else value)
        for key, value in filters.items()
    ]
    return ListRequest(filters=entries)


async def test_images_are_tagged_listed_and_looked_at(host: EngineHost) -> None:
    images = host.node.engine.images
    await images.Tag(TagImageRequest(ref=host.image, target="reg:5000/team/app:v1"))
    found = await images.Inspect(GetRequest(ref="reg:5000/team/app:v1"))
    assert json.loads(found.config_json)["os"] == "linux"
    assert len(found.diff_ids) == len(json.loads(found.config_json)["rootfs"]["diff_ids"])
    name = found.image.repo_tags[0].rpartition(":")[0]
    for filters, expected in (
        ({}, 1),
        ({"reference": "reg:5000/*/app"}, 1),
        ({"reference": "reg:5000/*/app:v1"}, 1),
        ({"reference": "reg:5000/*/app:v2"}, 0),
        ({"reference": "*"}, 0),
        ({"reference": name}, 1),
        ({"dangling": "true"}, 0),
        ({"dangling": "false"}, 1),
        ({"label": "none"}, 0),
        ({"before": host.image}, 0),
        ({"until": "1s"}, 1),
    ):
        reply = await images.List(asked(**filters))
        assert len(reply.images) == expected, filters
    for wrong in ({"colour": "red"}, {"dangling": "maybe"}, {"until": "yesterday"}):
        await host.refused(images.List(asked(**wrong)), INVALID)
    await host.refused(images.Inspect(GetRequest(ref="none:1")), NOT_FOUND)
    await host.refused(images.Tag(TagImageRequest(ref=host.image, target="Bad")), INVALID)


async def test_an_image_that_a_container_uses_is_not_pruned_and_not_removed(
    host: EngineHost,
) -> None:
    images = host.node.engine.images
    container = await host.run(SLEEP)
    image = (await images.Inspect(GetRequest(ref=host.image))).image
    assert image.containers == 1
    pruned = await images.Prune(asked(dangling="false"), timeout=TIMEOUT_S)
    assert list(pruned.deleted) == []
    said = await host.refused(images.Remove(RemoveImageRequest(ref=image.id)), FAILED)
    assert f"in use by container {container[:12]}" in said
    await host.call("Remove", container, force=True)
    pruned = await images.Prune(asked(dangling="false"), timeout=TIMEOUT_S)
    assert pruned.deleted[0] == image.id and pruned.reclaimed_bytes > 100_000
    assert image.repo_tags[0] in pruned.untagged
    assert list((await images.List(ListRequest())).images) == []


async def test_volumes_are_kept_while_used_and_pruned_after(host: EngineHost) -> None:
    volumes = host.node.engine.volumes
    await volumes.Create(LocalVolume(name="data", labels={"a": "b"}))
    mounts = [
        Mount(type=Mount.VOLUME, source="data", target="/data"),
        Mount(type=Mount.VOLUME, target="/own"),
    ]
    container = await host.run("echo 12345 > /data/x; sleep 600", spec=ContainerSpec(mounts=mounts))
    listed = {v.name: v for v in (await volumes.List(ListRequest())).volumes}
    (own,) = set(listed) - {"data"}
    assert list(listed["data"].used_by) == [container]
    assert listed[own].anonymous and not listed["data"].anonymous
    for filters, expected in (
        ({"dangling": "true"}, set()),
        ({"dangling": "false"}, {"data", own}),
        ({"label": "a=b"}, {"data"}),
        ({"name": "dat"}, {"data"}),
        ({"driver": "nfs"}, set()),
    ):
        reply = await volumes.List(asked(**filters))
        assert {volume.name for volume in reply.volumes} == expected, filters
    said = await host.refused(volumes.Remove(RemoveVolumeRequest(ref="data")), FAILED)
    assert "in use by container" in said
    everything = PruneRequest(filters=[Filter(key="all", values=["true"])])
    assert list((await volumes.Prune(everything)).deleted) == []
    await host.call("Remove", container, force=True)
    assert list((await volumes.Prune(PruneRequest())).deleted) == [own]
    usage: Any = await host.node.engine.host.DiskUsage(DiskUsageRequest())
    assert [volume.size_bytes for volume in usage.volumes] == [6]
    assert usage.layers_bytes > 100_000 and usage.images_reclaimable_bytes > 100_000
    assert list((await volumes.Prune(everything)).deleted) == ["data"]
    await volumes.Remove(RemoveVolumeRequest(ref="data", force=True))
    await host.refused(volumes.Remove(RemoveVolumeRequest(ref="data")), NOT_FOUND)
    await host.refused(volumes.Inspect(GetRequest(ref="data")), NOT_FOUND)
    await host.refused(host.node.engine.host.DiskUsage(DiskUsageRequest(types=["x"])), INVALID)
