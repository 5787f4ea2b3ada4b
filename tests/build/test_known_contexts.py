"""A context that came before, byte for byte: what its files come to is known without them."""

from __future__ import annotations

import pytest
from build_host import BuildHost

from swarmlite.build.progress import Report
from swarmlite.proto import build_pb2 as pb
from swarmlite.proto.images_pb2 import RemoveImageRequest

pytestmark = pytest.mark.timeout(240)
FILES = {"Dockerfile": "FROM scratch\nCOPY a /one/\nCOPY *.txt /all/\n", "a": "1", "b.txt": "2"}


async def test_a_warm_build_neither_unpacks_nor_writes_its_context(builder: BuildHost) -> None:
    """Nothing can be written where it would be."""
    scratch = builder.node.paths.state_dir / "build" / "scratch"
    first = await builder.build(files=FILES, tags=["warm:1"])
    assert first.cached == [False, False]
    builder.node.run("mount", "-t", "tmpfs", "-o", "ro", "x", str(scratch))
    try:
        again = await builder.build(files=FILES, tags=["warm:1"])
        other = await builder.build(files={**FILES, "a": "3"})
    finally:
        builder.node.run("umount", "-l", str(scratch))
    assert again.cached == [True, True] and again.result.image_id == first.result.image_id
    assert other.error is not None, "a context that is new needs its files"


async def test_a_known_context_is_unpacked_where_a_step_has_to_be_done(builder: BuildHost) -> None:
    """Its layers are gone, what it comes to is not; several files of a pattern go into a folder."""
    files = {**FILES, "c.txt": "3"}
    first = await builder.build(files=files, tree=True)
    await builder.node.engine.images.Remove(RemoveImageRequest(ref=first.result.image_id))
    await builder.stub.PruneCache(pb.PruneBuildCacheRequest(all=True))
    again = await builder.build(files=files, tree=True)
    assert again.cached == [False, False]
    assert sorted(again.tree(1)) == sorted(first.tree(1))
    assert again.text("all/b.txt", 1) == "2" and again.text("one/a", 1) == "1"


async def test_the_same_context_by_other_words_comes_to_something_else(builder: BuildHost) -> None:
    """Into a folder or not, by a pattern or not, with what is ignored or without it."""
    files = {"a.txt": "1", "b.txt": "2", "Dockerfile": "FROM scratch\nCOPY . /\n"}
    several = await builder.build("FROM scratch\nCOPY *.txt /x/\n", files, tree=True)
    single = await builder.build("FROM scratch\nCOPY a.txt /x\n", files, tree=True)
    into = await builder.build("FROM scratch\nCOPY a.txt /x/\n", files, tree=True)
    assert [one.text(name, 1) for one, name in ((single, "x"), (into, "x/a.txt"))] == ["1", "1"]
    assert several.text("x/b.txt", 1) == "2"
    ignoring = {**files, ".dockerignore": "Dockerfile\n"}
    whole = await builder.build(files=ignoring, tree=True)
    without = await builder.build(files=ignoring, tree=True, drop_ignored=True)
    again = await builder.build(files=ignoring, tree=True)
    assert "Dockerfile" in whole.tree(1) and "Dockerfile" in again.tree(1)
    assert "Dockerfile" not in without.tree(1)


async def test_events_come_one_by_one_to_a_client_that_knows_no_others(builder: BuildHost) -> None:
    """A command of an earlier release reads nothing of `more`."""
    text = "FROM busybox\nRUN seq 20000\n"
    built = await builder.build(text, no_cache=True, takes_more=False)
    assert built.result and built.together == 0
    assert built.logs.endswith("\n20000\n")


async def test_events_leave_together_for_a_client_that_knows_it() -> None:
    report = Report()
    report.together = True
    for text in ("one", "two", "three"):
        report.warn("Dockerfile", 1, text)
    report.close()
    event = await report.next()
    assert event is not None
    assert [each.warning.text for each in (event, *event.more)] == ["one", "two", "three"]
    assert await report.next() is None
