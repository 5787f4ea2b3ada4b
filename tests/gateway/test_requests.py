"""What handlers see of a request: versions, queries, filters, bodies, read as by Docker."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from yarl import URL

from swarmlite import errors
from swarmlite.docker.fields import Fields
from swarmlite.gateway import app
from swarmlite.gateway.errors import Refused, status_of
from swarmlite.gateway.request import Call
from swarmlite.gateway.versions import Field, Version, shaped, table


def call(query: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> Call:
    http: Any = SimpleNamespace(
        query=URL("").with_query(query or {}).query, headers=web.Response(headers=headers).headers
    )
    return Call(http, Version(1, 44), {}, cast(Any, None), cast(Any, None))


@pytest.mark.parametrize("text", ["", "0", "no", "No", "false", "False", "FALSE", "none", "None"])
def test_these_words_are_false(text: str) -> None:
    assert call({"all": text}).flag("all", default=True) is False


@pytest.mark.parametrize("text", ["1", "true", "True", "yes", "on", "anything"])
def test_every_other_word_is_true(text: str) -> None:
    assert call({"all": text}).flag("all") is True


@pytest.mark.parametrize("value", [{"label": {"a=b": True, "c": True}}, {"label": ["a=b", "c"]}])
def test_filters_come_in_two_forms(value: Any) -> None:
    found = call({"filters": json.dumps(value)}).filters()
    assert [(f.key, list(f.values)) for f in found] == [("label", ["a=b", "c"])]


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '{"label": 1.5}', '{"label": [1]}', '"x"'),
        pytest.param("[" * 9999, id="nested"),
    ],
)
def test_a_broken_filter_is_refused_and_never_ignored(text: str) -> None:
    """Ignored, it would make `stack rm` delete everything."""
    with pytest.raises(errors.InvalidSpec, match="invalid filter"):
        call({"filters": text}).filters()


def test_credentials_come_in_both_alphabets_of_base64_with_and_without_padding() -> None:
    for text in ("eyJ1c2VybmFtZSI6ICI_Pz4-In0=", "eyJ1c2VybmFtZSI6ICI/Pz4+In0"):
        assert call(headers={"x-registry-auth": text}).auth_header() == {"username": "??>>"}
    assert call().auth_header() == {}
    for text in ("e", "W1tb" * 3333):
        with pytest.raises(errors.InvalidSpec):
            call(headers={"X-Registry-Auth": text}).auth_header()


def test_keys_of_a_body_are_read_in_whatever_case() -> None:
    body = Fields.of({"mode": {"REPLICATED": {"replicas": 3}}, "Image": "x", "image": "y"})
    assert body.object("Mode").object("Replicated").number("Replicas") == 3
    assert body.text("Image") == "x"
    assert body.text("absent") == "" and body.object("Absent").texts("X") == []


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda b: b.object("HostConfig").number("Memory"), "HostConfig.Memory: expected a number"),
        (lambda b: b.text("Number"), "Number: expected a string, not a number"),
        (lambda b: b.flag("Text"), "Text: expected a boolean, not a string"),
        (lambda b: b.number("Flag"), "Flag: expected a number, not a boolean"),
        (lambda b: b.texts("Env"), r"Env\[1\]: expected a string, not a number"),
        (lambda b: b.mapping("Labels"), "Labels.a: expected a string, not a number"),
        (lambda b: b.object("Text"), "Text: expected an object, not a string"),
        (lambda b: b.number("Half"), "Half: expected a whole number"),
        (lambda b: b.number("Huge"), "Huge: .* is out of range"),
    ],
)
def test_a_wrong_type_is_refused_with_its_field(read: Any, message: str) -> None:
    body = Fields.of(
        {
            "HostConfig": {"Memory": "1"},
            "Number": 1,
            "Text": "x",
            "Flag": True,
            "Env": ["a", 1],
            "Labels": {"a": 1},
            "Half": 0.5,
            "Huge": 2**70,
        }
    )
    with pytest.raises(errors.InvalidSpec, match=message):
        read(body)


def test_an_answer_is_shaped_by_the_version_that_is_asked_for() -> None:
    rows = table("x", Field("A.*.New", since=44), Field("Old", until=51), Field("L.*.X", since=50))
    value = {"A": {"one": {"New": 1, "Same": 2}}, "Old": 1, "L": [{"X": 1}, {"Y": 1}]}
    old = shaped(rows, json.loads(json.dumps(value)), Version(1, 43))
    assert old == {"A": {"one": {"Same": 2}}, "Old": 1, "L": [{}, {"Y": 1}]}
    new = shaped(rows, json.loads(json.dumps(value)), Version(1, 52))
    assert new == {"A": value["A"], "L": value["L"]}


@pytest.mark.parametrize("segment", sorted(app.GROUPS))
def test_every_group_has_its_file_and_its_patterns_compile(segment: str) -> None:
    for method, pattern, handler in app.routes(segment):
        assert method in ("GET", "HEAD", "POST", "PUT", "DELETE")
        assert pattern.pattern and callable(handler)


def test_a_name_with_slashes_is_found_where_the_table_says_so() -> None:
    pattern = app.compiled("/images/{name:path}/json")
    found = pattern.fullmatch("/images/localhost:5000/a/b/json")
    assert found and found["name"] == "localhost:5000/a/b"
    assert not app.compiled("/containers/{name}/json").fullmatch("/containers/a/b/json")


def test_errors_have_docker_s_status_codes() -> None:
    assert status_of(errors.NotFound("x")) == 404
    assert status_of(errors.InvalidSpec("x")) == 400
    assert status_of(errors.AlreadyExists("x")) == 409
    assert status_of(errors.Unavailable("x")) == 503
    assert status_of(Refused(501, "x")) == 501
    assert status_of(errors.SwarmliteError("x")) == 500


def test_what_is_taken_of_aiohttp_s_inside_is_there() -> None:
    """streams/connection.py leans on these: another release may rename them in silence."""
    handler = set(dir(RequestHandler))
    assert {"_waiter", "_payload_parser", "_current_request", "_drain_helper"} <= handler
    assert {"set_parser", "data_received", "eof_received", "connection_lost"} <= handler
    loop = asyncio.new_event_loop()
    try:
        assert {"_loop", "_kwargs"} <= set(vars(web.Server(cast(Any, None), loop=loop)))
    finally:
        loop.close()
