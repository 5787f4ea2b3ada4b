"""--cache-to and --cache-from: what one host's cache knows, another one's takes over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from build_host import BuildHost

from swarmlite.proto import build_pb2 as pb
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.images_pb2 import RemoveImageRequest

TEXT = """FROM busybox AS tool
RUN date +%N >/tool
FROM busybox
RUN date +%N >/when
COPY --from=tool /tool /tool
"""
CHUNK = 1 << 20


async def named(archive: bytes) -> AsyncIterator[pb.BuildRequest]:
    """An archive as the context `kept`."""
    for start in range(0, len(archive), CHUNK):
        data = pb.NamedContextData(name="kept", data=archive[start : start + CHUNK])
        yield pb.BuildRequest(named=data)
    yield pb.BuildRequest(named=pb.NamedContextData(name="kept", end=True))


async def forget(builder: BuildHost, image_id: str) -> None:
    """Neither the image nor anything of its steps is here any more."""
    await builder.node.engine.images.Remove(RemoveImageRequest(ref=image_id))
    await builder.stub.PruneCache(pb.PruneBuildCacheRequest(all=True))


@pytest.mark.parametrize("every", [False, True])
async def test_a_cache_in_an_archive_stands_for_the_steps(builder: BuildHost, every: bool) -> None:
    """mode=min has the target's steps, mode=max those of all stages; no image of it stays."""
    outputs = [
        pb.BuildOutput(type=pb.BuildOutput.IMAGE),
        pb.BuildOutput(type=pb.BuildOutput.CACHE, all_stages=every),
    ]
    first = await builder.build(TEXT, outputs=outputs, no_cache=True)
    await forget(builder, first.result.image_id)
    before = {image.id for image in (await builder.node.engine.images.List(ListRequest())).images}
    again = await builder.build(TEXT, cache_from=["context://kept"], more=named(first.output(1)))
    done = dict(again.done)
    assert done["RUN date +%N >/when"] is True, again.warnings
    assert done["RUN date +%N >/tool"] is every
    if every:
        assert again.result.image_id == first.result.image_id
    after = {image.id for image in (await builder.node.engine.images.List(ListRequest())).images}
    assert after - before == {again.result.image_id}
    await forget(builder, again.result.image_id)


async def test_a_cache_that_is_not_to_be_had_is_a_warning(builder: BuildHost) -> None:
    built = await builder.build(
        "FROM busybox\nRUN true\n", cache_from=["context://kept"], more=named(b"no archive")
    )
    assert built.result.image_id
    assert any("--cache-from context://kept" in text for text in built.warnings)
