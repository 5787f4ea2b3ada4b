"""The cache, and what keeps builds the same."""

from __future__ import annotations

import json

from build_host import BuildHost

from swarmlite.proto import build_pb2 as pb
from swarmlite.proto.control_pb2 import Filter, GetRequest, ListRequest
from swarmlite.proto.host_pb2 import DiskUsageRequest
from swarmlite.proto.images_pb2 import RemoveImageRequest

TEXT = "FROM busybox\nCOPY f /f\nRUN cat /f >/g && date +%N >/when\nRUN cat /when >/again\n"


async def test_the_cache_outlives_the_agent_and_the_image(builder: BuildHost) -> None:
    """A second build after both are gone takes all of it."""
    first = await builder.build(TEXT, {"f": "outlives"})
    await builder.node.engine.images.Remove(RemoveImageRequest(ref=first.result.image_id))
    await builder.host.restart_engine()
    second = await builder.build(TEXT, {"f": "outlives"})
    assert second.cached == [True, True, True]
    assert second.result.image_id == first.result.image_id


async def test_a_step_depends_on_content_and_not_on_what_was_before_it(
    builder: BuildHost,
) -> None:
    """Metadata and times of files change nothing; variables that a RUN sees do."""
    text = "FROM busybox\n{0}COPY f /f\nRUN cat /f >/g\n"
    await builder.build(text.format(""), {"f": "by content"})
    same = await builder.build(text.format("LABEL a=1\nCMD x\n"), {"f": "by content"})
    assert same.cached == [True, True]
    seen = await builder.build(text.format("ENV a=1\n"), {"f": "by content"})
    assert seen.cached == [True, False]


async def test_no_cache_and_its_filter_do_the_steps_again(builder: BuildHost) -> None:
    """All of them, or those of the stages that are named."""
    text = "FROM busybox AS a\nRUN date +%N >/a\nFROM busybox AS b\nRUN date +%N >/b\n" \
        "COPY --from=a /a /a\n"  # fmt: skip
    first = await builder.build(text)
    again = await builder.build(text, no_cache_filter=["a"])
    assert dict(again.done)["RUN date +%N >/a"] is False
    assert dict(again.done)["RUN date +%N >/b"] is True
    whole = await builder.build(text, no_cache=True)
    assert not any(whole.cached) and whole.result.image_id != first.result.image_id


async def test_two_builds_from_nothing_are_the_same_with_a_source_date(builder: BuildHost) -> None:
    """Image, manifest and layers, to the digest."""
    text = (
        "FROM busybox\nWORKDIR /w\nCOPY f .\nCOPY <<EOF /d/doc\nx\nEOF\n"
        "RUN for i in 3 1 2; do mkdir -p /z/$i; echo $i >/z/$i/f; done; ln /z/1/f /a\n"
        "COPY --from=busybox /bin /copied\nLABEL x=1\n"
    )
    made = [
        await builder.build(text, {"f": "1"}, no_cache=True, source_date_epoch=1_500_000_000)
        for _ in range(2)
    ]
    assert made[0].result.manifest_digest == made[1].result.manifest_digest
    assert made[0].config["created"] == "2017-07-14T02:40:00Z"
    other = await builder.build(text, {"f": "1"}, build_args={"SOURCE_DATE_EPOCH": "1500000000"})
    assert other.result.image_id == made[0].result.image_id


async def test_the_cache_is_listed_and_pruned(builder: BuildHost) -> None:
    """What images use stays, unless all is asked for."""
    built = await builder.build(TEXT, {"f": "pruned"}, tags=["pruned:1"])
    mounted = await builder.build(
        "FROM busybox\nRUN --mount=type=cache,target=/c echo 1234 >/c/f\n"
    )
    assert mounted.result
    listed = await builder.stub.ListCache(ListRequest())
    mine = [e for e in listed.entries if e.description.startswith("RUN") and e.shared]
    assert mine and not any(entry.in_use for entry in mine)
    assert [e.type for e in listed.entries if "/c" in e.description].count("exec.cachemount") == 1
    only = Filter(key="type", values=["exec.cachemount"])
    gone = await builder.stub.PruneCache(pb.PruneBuildCacheRequest(filters=[only]))
    assert gone.deleted and gone.reclaimed_bytes >= 5
    await builder.stub.PruneCache(pb.PruneBuildCacheRequest())
    assert (await builder.build(TEXT, {"f": "pruned"})).cached == [True, True, True]
    await builder.stub.PruneCache(pb.PruneBuildCacheRequest(all=True))
    assert not (await builder.stub.ListCache(ListRequest())).entries
    assert not any((await builder.build(TEXT, {"f": "pruned"})).cached)
    details = await builder.node.engine.images.Inspect(GetRequest(ref="pruned:1"))
    assert details.image.id == built.result.image_id  # its layers are its own as well


async def test_a_prune_takes_images_and_leaves_the_cache_of_their_builds(
    builder: BuildHost,
) -> None:
    """What the cache keeps of an image is no use of the image."""
    built = await builder.build(TEXT, {"f": "dangling"})
    pruned = await builder.node.engine.images.Prune(ListRequest())
    assert built.result.image_id in pruned.deleted
    again = await builder.build(TEXT, {"f": "dangling"}, tags=["pruned:2"])
    assert again.cached == [True, True, True]
    used = await builder.node.engine.host.DiskUsage(DiskUsageRequest())
    assert used.images_reclaimable_bytes > 0


async def test_archives_of_a_build_hold_its_image_and_leave_none(builder: BuildHost) -> None:
    """type=oci and type=docker: the bytes are streamed, and the store is as it was.

    The archive names its image, as `-t` said.
    """
    before = await builder.node.engine.images.List(ListRequest())
    text = "FROM busybox\nRUN echo only-in-an-archive >/x\n"
    built = await builder.build(
        text, outputs=[pb.BuildOutput(type=pb.BuildOutput.OCI)], tags=["archived:1"]
    )
    assert {"oci-layout", "index.json"} <= set(built.tree())
    assert json.loads(built.text("manifest.json"))[0]["RepoTags"] == ["archived:1"]
    (entry,) = json.loads(built.text("index.json"))["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/library/archived:1"
    assert built.result.manifest_digest.split(":")[1] in " ".join(built.tree())
    after = await builder.node.engine.images.List(ListRequest())
    assert {i.id for i in before.images} == {i.id for i in after.images}
