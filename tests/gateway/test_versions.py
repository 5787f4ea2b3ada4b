"""Fields of answers by the version that is asked for, in the tables and in real answers."""

from __future__ import annotations

import importlib
import json
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
        import time

        query["until"] = str(int(time.time()) + 1)
        for version, has in (("1.51", True), ("1.52", False)):
            said = host.api("GET", "/events", version=version, **query).body
            event = json.loads(said.splitlines()[-1])
            assert ("status" in event) == has and event["Type"] == "container"


def test_a_health_is_listed_since_1_52(host: RawHost) -> None:
    check = {"Test": ["CMD", "true"], "Interval": 3600 * 10**9}
    with container(host, Healthcheck=check) as identity, container(host, start=False) as plain:

        def listed(version: str) -> dict[str, Any]:
            shown = host.api("GET", "/containers/json", version=version, all="1").json
            return {each["Id"]: each.get("Health") for each in shown}

        assert listed("1.51") == {identity: None, plain: None}
        found = listed("1.52")
        assert found[plain] == {"Status": "none", "FailingStreak": 0}
        assert found[identity]["Status"] in ("starting", "healthy")


def test_a_mac_address_is_the_container_s_own_up_to_1_51(host: RawHost) -> None:
    mac = "02:42:ac:11:00:07"
    body = {"Image": host.image, "Cmd": ["true"], "MacAddress": mac}
    refused = host.api("POST", "/containers/create", body)
    assert refused.status == 400 and "endpoint-specific MAC address" in refused.message
    made = host.api("POST", "/containers/create", body, version="1.51")
    assert made.status == 201 and "deprecated" in made.json["Warnings"][0]
    path = f"/containers/{made.json['Id']}"
    try:
        assert host.api("GET", f"{path}/json", version="1.51").json["Config"]["MacAddress"] == mac
        new = host.api("GET", f"{path}/json", version="1.52").json
        assert "MacAddress" not in new["Config"]
        assert new["NetworkSettings"]["Networks"]["bridge"]["MacAddress"] == mac
    finally:
        host.api("DELETE", path, force="1")


def test_a_network_counts_its_addresses_since_1_52_and_lists_containers_before_1_28(
    host: RawHost,
) -> None:
    config = {"Subnet": "10.87.3.0/24", "IPRange": "10.87.3.128/25", "Gateway": "10.87.3.1"}
    config["AuxiliaryAddresses"] = {"printer": "10.87.3.130"}  # type: ignore[assignment]
    body = {"Name": "counted", "IPAM": {"Config": [config]}}
    host.ok_api("POST", "/networks/create", body)
    try:
        with container(host, HostConfig={"NetworkMode": "counted"}) as identity:

            def inspected(version: str) -> Any:
                return host.api("GET", "/networks/counted", version=version).json

            def listed(version: str) -> Any:
                every = host.api("GET", "/networks", version=version).json
                return next(each for each in every if each["Name"] == "counted")

            assert "Status" not in inspected("1.51")
            # The subnet's two ends, its gateway, the printer and the container; the range's last
            # address is the subnet's.
            assert inspected("1.52")["Status"]["IPAM"]["Subnets"] == {
                "10.87.3.0/24": {"IPsInUse": 5, "DynamicIPsAvailable": 128 - 3}
            }
            assert list(listed("1.27")["Containers"]) == [identity]
            assert listed("1.28")["Containers"] == {}
            assert "Containers" not in listed("1.52")
    finally:
        host.api("DELETE", "/networks/counted")


def test_an_image_is_shown_and_asked_for_as_each_version_has_it(host: RawHost) -> None:
    path = f"/images/{host.image}"

    def inspected(version: str, **query: str) -> Any:
        return host.api("GET", f"{path}/json", version=version, **query)

    old, new = inspected("1.51").json, inspected("1.52").json
    assert old["Author"] == "" and old["Config"]["OnBuild"] is None
    assert "Author" not in new and "OnBuild" not in new["Config"]
    assert new["Config"]["Cmd"] == old["Config"]["Cmd"]
    here = {"os": "linux", "architecture": old["Architecture"]}
    there = {"os": "linux", "architecture": "s390x"}
    for version, query, status in (
        ("1.49", {"platform": json.dumps(here)}, 200),
        ("1.49", {"platform": json.dumps(there)}, 404),
        ("1.49", {"platform": "linux/amd64"}, 400),
        ("1.49", {"platform": '{"os":"linux"}'}, 400),
        ("1.49", {"platform": json.dumps(here), "manifests": "1"}, 400),
        ("1.48", {"platform": json.dumps(there)}, 200),
    ):
        assert inspected(version, **query).status == status, (version, query)
    asked = {"platform": json.dumps(there)}
    assert host.api("GET", f"{path}/history", version="1.48", **asked).status == 404
    assert host.api("GET", f"{path}/history", version="1.47", **asked).status == 200
    assert host.api("GET", f"{path}/get", version="1.51", platform=["{}", "{}"]).status == 400
    assert host.api("GET", "/images/json", version="1.54", identity="1").status == 400
    with container(host, start=False):
        for version, count in (("1.50", -1), ("1.51", 1)):
            (shown,) = host.api("GET", "/images/json", version=version).json
            assert shown["Containers"] == count
    refused = host.api("POST", f"{path}/tag", repo="sha256")
    assert refused.status == 400 and "ambiguous tag" in refused.message


def test_a_start_hears_no_configuration_and_a_stop_no_signal_before_1_42(host: RawHost) -> None:
    command = [
        "sh",
        "-c",
        "trap 'exit 7' USR1; trap 'exit 8' TERM; echo; while :; do sleep 0.1; done",
    ]
    with container(host, start=False, Cmd=command) as identity:
        path = f"/containers/{identity}"
        refused = host.api("POST", f"{path}/start", {"Binds": ["/:/host"]})
        assert refused.status == 400 and "non-empty request body" in refused.message
        for version, code in (("1.42", 7), ("1.41", 8)):
            with host.hijack(f"{path}/attach", stream="1", stdout="1") as attached:
                assert host.api("POST", f"{path}/start", {}).status == 204
                attached.until(b"\n")  # it has its traps
            host.api("POST", f"{path}/stop", version=version, signal="USR1")
            assert host.ok_api("GET", f"{path}/json")["State"]["ExitCode"] == code


def test_events_are_called_what_they_are_since_1_52(host: RawHost) -> None:
    for version, accepted, kind in (
        ("1.51", "application/json-seq", "application/json"),
        ("1.52", "*/*", "application/jsonl"),
        ("1.52", "application/x-ndjson", "application/x-ndjson"),
        ("1.55", "application/json-seq", "application/json-seq"),
    ):
        sent = {"Accept": accepted}
        answer = host.api("GET", "/events", version=version, headers=sent, since="1", until="2")
        assert answer.headers["Content-Type"] == kind, (version, accepted)
    refused = host.api("GET", "/events", since="5", until="2")
    assert refused.status == 400 and "cannot be after" in refused.message


def test_options_of_whatever_path_are_200(host: RawHost) -> None:
    assert host.api("OPTIONS", "/anything/at/all").status == 200
