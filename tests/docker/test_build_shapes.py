"""POST /build: its query to the builder's options, and the builder's events to Docker's lines."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from swarmlite.docker import buildprogress
from swarmlite.docker.buildprogress import BuildLines
from swarmlite.docker.reading.build import options, registry_auths
from swarmlite.errors import InvalidSpec
from swarmlite.proto.build_pb2 import BuildEvent, BuildOptions

ID = "sha256:" + "ab" * 32


def read(query: dict[str, str], **repeated: list[str]) -> BuildOptions:
    def number(name: str) -> int | None:
        return int(query[name]) if query.get(name) else None

    return options(
        query, lambda name: repeated.get(name, []), lambda n: query.get(n) == "1", number
    )


def lines(*events: dict[str, Any], **how: bool) -> list[dict[str, Any]]:
    made = BuildLines(**how)
    return [line for event in events for line in made.of(BuildEvent(**event))]


def step(number: int, text: str, *, stage: str = "0", at: int = 2) -> dict[str, Any]:
    return {"step": {"id": number, "instruction": text, "stage": stage, "number": at}}


def done(number: int, **how: Any) -> dict[str, Any]:
    return {"step_done": {"id": number, **how}}


def text(found: list[dict[str, Any]]) -> str:
    return "".join(line.get("stream", "") for line in found)


def test_what_docker_s_command_sends_is_read() -> None:
    made = read(
        {
            "buildargs": '{"A":"b","C":null}',
            "labels": '{"l":"m"}',
            "cachefrom": "[]",
            "ulimits": '[{"Name":"nofile","Hard":20,"Soft":10}]',
            "dockerfile": ".dockerfile.1234",
            "memory": "1048576",
            "memswap": "-1",
            "networkmode": "default",
            "nocache": "1",
            "shmsize": "67108864",
            "target": "x",
            "version": "1",
        },
        t=["a:b", "c"],
        extrahosts=["h:10.0.0.1", "i=[::1]"],
    )
    assert dict(made.build_args) == {"A": "b"} and dict(made.labels) == {"l": "m"}
    assert made.dockerfile == ".dockerfile.1234" and made.target == "x" and made.no_cache
    assert made.tags == ["a:b", "c:latest"]
    assert made.extra_hosts == ["h:10.0.0.1", "i:::1"]
    assert (made.resources.memory_bytes, made.resources.memory_swap_bytes) == (1 << 20, -1)
    assert made.shm_size_bytes == 64 << 20 and made.network == ""
    assert [(u.name, u.soft, u.hard) for u in made.ulimits] == [("nofile", 10, 20)]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"version": "2"}, "DOCKER_BUILDKIT=0"),
        ({"squash": "1"}, "squash: not supported"),
        ({"session": "abc"}, "DOCKER_BUILDKIT=0"),
        ({"buildargs": "{"}, "buildargs: not JSON"),
        pytest.param({"labels": "[" * 9999}, "labels: not JSON", id="nested"),
        ({"labels": '{"a":1}'}, "labels.a: expected a string, not a number"),
        ({"networkmode": "container:x"}, "networkmode: another container's network"),
        ({"ulimits": "[1]"}, "ulimits[0]: expected an object, not a number"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(query: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSpec) as error:
        read(query)
    assert said in str(error.value)


def test_logins_come_by_server() -> None:
    sent = {"localhost:5000": {"username": "u", "password": "p"}, "empty": {}}
    for form in (sent, {"auths": sent}):
        found = registry_auths(form)
        assert list(found) == ["localhost:5000"]
        login = json.loads(base64.urlsafe_b64decode(found["localhost:5000"]))
        assert login == {"username": "u", "password": "p", "serveraddress": "localhost:5000"}


def test_a_build_reads_as_the_classic_builder_s() -> None:
    found = lines(
        {"plan": {"steps": 3}},
        {"step": {"id": 1, "name": "[internal] load build context"}},
        done(1),
        step(2, "FROM busybox", at=1),
        done(2, cached=True, layer=ID),
        step(3, "ENV A=b", at=0),
        done(3, layer=ID),
        step(4, "RUN echo hi"),
        {"log": {"step": 4, "data": b"hi\n", "stream": 1}},
        {"log": {"step": 4, "data": b"oh\n", "stream": 2}},
        done(4, layer=ID),
        {"result": {"image_id": ID, "tags": ["docker.io/library/x:latest", "h:1/y:z"]}},
    )
    short = "ab" * 6
    assert text(found) == (
        f"Step 1/3 : FROM busybox\n ---> {short}\n"
        f"Step 2/3 : ENV A=b\n ---> Using cache\n ---> {short}\n"
        f"Step 3/3 : RUN echo hi\nhi\n\x1b[91moh\n\x1b[0m ---> {short}\n"
        f"Successfully built {short}\nSuccessfully tagged x:latest\nSuccessfully tagged h:1/y:z\n"
    )
    assert {"aux": {"ID": ID}} in found


def test_steps_side_by_side_are_told_one_after_the_other() -> None:
    found = lines(
        step(1, "RUN a", stage="a"),
        step(2, "RUN b", stage="b"),
        {"log": {"step": 2, "data": b"b\n"}},
        {"log": {"step": 1, "data": b"a\n"}},
        done(2),
        step(3, "RUN c", stage="b"),
        {"log": {"step": 3, "data": b"c\n"}},
        done(1),
        {"log": {"step": 3, "data": b"d\n"}},
        done(3),
    )
    assert text(found) == ("Step 1/1 : RUN a\na\nStep 2/2 : RUN b\nb\nStep 3/3 : RUN c\nc\nd\n")


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildprogress, "MAX_WAITING_BYTES", 100)
    log = {"log": {"step": 2, "data": b"x" * 60}}
    made = BuildLines()
    for event in (step(1, "RUN a"), step(2, "RUN b"), log):
        list(made.of(BuildEvent(**event)))
    assert "x" * 60 in text(list(made.of(BuildEvent(**log))))


def test_quiet_is_the_id_only() -> None:
    found = lines(step(1, "RUN a"), done(1), {"result": {"image_id": ID}}, quiet=True)
    assert found == [{"stream": f"{ID}\n"}]


def test_a_command_that_failed_is_said_in_docker_s_words() -> None:
    found = buildprogress.failed(
        'Dockerfile:2: process "/bin/sh -c exit 3" did not complete successfully: exit code: 3', 3
    )
    message = "The command '/bin/sh -c exit 3' returned a non-zero code: 3"
    assert found == {"errorDetail": {"code": 3, "message": message}, "error": message}
    assert buildprogress.failed("other", 0)["errorDetail"] == {"message": "other"}
