"""Builds of Dockerfiles on a real engine."""

from __future__ import annotations

from build_host import BuildHost


async def test_files_commands_and_configuration_become_an_image(builder: BuildHost) -> None:
    """FROM, COPY, RUN, ENV, WORKDIR and CMD: what they say is in the image."""
    built = await builder.build(
        "FROM busybox\nENV A=1\nWORKDIR /work\nCOPY hello .\nRUN echo made-$A >made; id\n"
        'CMD ["cat", "made"]\n',
        {"hello": "hello\n"},
        tags=["first:1"],
        tree=True,
    )
    assert built.result.tags == ["first:1"]
    assert built.text("work/made", 1) == "made-1\n" and built.text("work/hello", 1) == "hello\n"
    assert built.inner["Cmd"] == ["cat", "made"] and built.inner["WorkingDir"] == "/work"
    assert "uid=0(root)" in built.logs


async def test_a_second_build_takes_all_of_the_cache(builder: BuildHost) -> None:
    """The same image comes of it."""
    text = "FROM busybox\nCOPY a /a\nRUN cat /a >/b\nCMD x\n"
    first = await builder.build(text, {"a": "1"})
    assert first.cached == [False, False]
    second = await builder.build(text, {"a": "1"})
    assert second.cached == [True, True] and second.result.image_id == first.result.image_id
    other = await builder.build(text, {"a": "2"})
    assert other.cached == [False, False]
