"""Builds of Dockerfiles on a real engine."""

from __future__ import annotations

import grpc
import pytest
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


async def test_a_failed_command_ends_the_build_with_its_exit_code(builder: BuildHost) -> None:
    """The step says it as docker does; what ran beside it is canceled."""
    text = (
        "FROM busybox AS slow\nRUN sleep 60\nFROM busybox\nRUN echo before >&2; exit 7\n"
        "COPY --from=slow /x /x\n"
    )
    built = await builder.build(text)
    assert built.error is not None and built.error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert 'process "/bin/sh -c echo before >&2; exit 7" did not complete' in built.refusal
    assert "exit code: 7" in built.refusal and "before" in built.logs
    ends = {built.steps[e.step_done.id].instruction: e.step_done for e in built.events
            if e.HasField("step_done")}  # fmt: skip
    assert ends["RUN echo before >&2; exit 7"].exit_code == 7
    assert ends["RUN sleep 60"].canceled


async def test_every_problem_of_a_dockerfile_is_told_at_once(builder: BuildHost) -> None:
    """An event each, with its line; nothing is built."""
    built = await builder.build("FROM busybox\nRUNN x\nCOPY a\n", dockerfile_name="D")
    assert built.error is not None and built.error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert built.problems == [
        "D:2: unknown instruction RUNN, did you mean RUN?",
        "D:3: COPY needs a source and a destination",
    ]
    assert not built.steps


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("FROM busybox\nCOPY none /x\n", "NOT_FOUND", '"/none": not found in the build context'),
        ("FROM busybox\nCOPY n* /x/\n", "NOT_FOUND", "n*: no file matches"),
        ("FROM busybox\nCOPY --from=busybox /n /x\n", "NOT_FOUND", '"/n": not found in busybox'),
        ("FROM busybox\nCOPY --chown=nobodyelse a /\n", "FAILED_PRECONDITION", "nobodyelse"),
        ("FROM busybox\nCOPY a /etc/passwd/x\n", "FAILED_PRECONDITION", "non-directory"),
        ("FROM busybox\nCOPY a b /x\n", "INVALID_ARGUMENT", "must end with /"),
        ("FROM busybox\nRUN --network=host true\n", "PERMISSION_DENIED", "--allow network.host"),
        ("FROM busybox\nRUN --security=insecure true\n", "PERMISSION_DENIED", "security.insecure"),
        ('FROM busybox\nRUN ["/none"]\n', "FAILED_PRECONDITION", "/none"),
        ("FROM busybox\nRUN --mount=type=secret,id=s,required true\n", "NOT_FOUND", "secret s"),
        ("FROM busybox\nRUN --mount=source=/n,target=/x true\n", "NOT_FOUND", "/n: not found"),
        ("ARG x\nFROM $x\n", "INVALID_ARGUMENT", "should not be blank"),
        ("FROM busybox\nENV x=${y:?missing}\n", "INVALID_ARGUMENT", "y: missing"),
        ("FROM busybox\nEXPOSE ${none:-x}\n", "INVALID_ARGUMENT", "Dockerfile:2: EXPOSE x"),
        ("FROM busybox\nADD http://127.0.0.1:1/x /x\n", "UNAVAILABLE", "127.0.0.1:1"),
        ("FROM 127.0.0.1:1/none\n", "UNAVAILABLE", "cannot pull 127.0.0.1:1/none"),
    ],
)
async def test_what_cannot_be_built_is_said_in_a_line(
    text: str, code: str, words: str, builder: BuildHost
) -> None:
    """What is wrong, and where."""
    built = await builder.build(text, {"a": "1", "b": "2"})
    assert built.error is not None, built.config
    assert (built.error.code().name, words in built.refusal) == (code, True), built.refusal


async def test_a_target_that_is_not_there_is_named_with_those_that_are(builder: BuildHost) -> None:
    built = await builder.build("FROM busybox AS a\nFROM busybox\n", target="b")
    assert "could not be found: there is a, 1" in built.refusal


async def test_a_refusal_is_told_whole_before_the_call_ends(builder: BuildHost) -> None:
    """A call's status may be lost on its way while a client still sends, and holds 2 KiB."""
    name = "n" * 3000
    built = await builder.build(f"FROM busybox\nCOPY --chown={name} a /\n", {"a": "1"})
    assert built.error is not None
    last = built.events[-1]
    assert last.WhichOneof("event") == "failure"
    assert last.failure.code == built.error.code().value[0]
    assert name in last.failure.text and name not in built.refusal
