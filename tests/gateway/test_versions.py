"""Fields of answers by the version that is asked for, in the tables and in real answers."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
from raw_host import RawHost
from test_containers import container

from swarmlite.gateway import fields
from swarmlite.gateway.versions import NEWEST, OLDEST, Table, Version

EVERY = [f"1.{minor}" for minor in range(OLDEST.minor, NEWEST.minor + 1)]


def tables() -> list[Table]:
    found = []
    for module in pkgutil.iter_modules(fields.__path__):
        loaded = importlib.import_module(f"{fields.__name__}.{module.name}")
        found += [value for value in vars(loaded).values() if isinstance(value, Table)]
    return found


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.object)
def test_a_table_names_each_field_once_and_versions_that_are_served(table: Table) -> None:
    paths = [field.path for field in table.fields]
    assert len(paths) == len(set(paths))
    for field in table.fields:
        assert all(field.path.split(".")), field
        assert field.since <= field.until
        # A row that no version that is served differs by says nothing.
        assert OLDEST.minor < field.since <= NEWEST.minor or field.until < NEWEST.minor, field


@pytest.mark.parametrize("version", EVERY)
def test_every_version_answers(host: RawHost, version: str) -> None:
    answer = host.api("GET", "/version", version=version)
    assert answer.status == 200 and answer.headers["Api-Version"] == str(NEWEST)
    assert ("Components" in answer.json) == (Version.parse(version) >= (1, 35))


@pytest.mark.parametrize(("version", "word"), [("1.23", "too old"), ("1.56", "too new")])
def test_others_are_refused_in_docker_s_words(host: RawHost, version: str, word: str) -> None:
    refused = host.api("GET", "/containers/json", version=version)
    assert refused.status == 400
    assert refused.message.startswith(f"client version {version} is {word}. M")


def test_a_container_is_shown_as_each_version_has_it(host: RawHost) -> None:
    with container(host, HostConfig={"Annotations": {"a": "b"}}) as identity:

        def shown(version: str) -> Any:
            answer = host.api("GET", f"/containers/{identity}/json", version=version)
            assert answer.status == 200
            return answer.json

        old, middle, new = shown("1.24"), shown("1.44"), shown("1.55")
        assert old["NetworkSettings"]["IPAddress"]
        assert middle["NetworkSettings"]["IPAddress"] == old["NetworkSettings"]["IPAddress"]
        assert "IPAddress" not in new["NetworkSettings"]
        assert "Annotations" not in old["HostConfig"]
        assert middle["HostConfig"]["Annotations"] == {"a": "b"}
        assert "DNSNames" not in old["NetworkSettings"]["Networks"]["bridge"]
        assert "DNSNames" in middle["NetworkSettings"]["Networks"]["bridge"]
        assert old["HostConfig"]["KernelMemory"] == 0 and "KernelMemory" not in new["HostConfig"]


def test_disk_usage_is_lists_and_then_sums(host: RawHost) -> None:
    with container(host):
        old = host.api("GET", "/system/df", version="1.41").json
        both = host.api("GET", "/system/df", version="1.52").json
        new = host.api("GET", "/system/df", version="1.53", verbose="1").json
        assert len(old["Containers"]) == 1 and old["BuilderSize"] == 0
        assert both["Images"] and both["ContainerUsage"]["ActiveCount"] == 1
        assert "Images" not in new and len(new["ImageUsage"]["Items"]) >= 1
        some = host.api("GET", "/system/df", version="1.42", type="volume").json
        assert some["Images"] is None and some["Volumes"] is not None
        assert host.api("GET", "/system/df", type="nothing").status == 400


def test_events_lose_their_older_fields(host: RawHost) -> None:
    with container(host):
        query = {"since": "1", "until": "1", "filters": {"event": ["start"]}}
        import json
        import time

        query["until"] = str(int(time.time()) + 1)
        for version, has in (("1.51", True), ("1.52", False)):
            said = host.api("GET", "/events", version=version, **query).body
            event = json.loads(said.splitlines()[-1])
            assert ("status" in event) == has and event["Type"] == "container"
