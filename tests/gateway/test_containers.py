"""The endpoints of containers, asked raw: status codes, words and shapes of Docker's API."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zstandard
from raw_host import RawHost

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]


@contextmanager
def container(host: RawHost, *, start: bool = True, name: str = "", **config: Any) -> Iterator[str]:
    """One of these fields; removed in the end."""
    body = {"Image": host.image, "Cmd": SLEEP, **config}
    made = host.ok_api("POST", "/containers/create", body, **({"name": name} if name else {}))
    try:
        if start:
            host.ok_api("POST", f"/containers/{made['Id']}/start")
        yield made["Id"]
    finally:
        host.api("DELETE", f"/containers/{made['Id']}", force="1", v="1")


def test_a_container_s_life_has_docker_s_status_codes(host: RawHost) -> None:
    made = host.api("POST", "/containers/create", {"Image": host.image, "Cmd": SLEEP}, name="life")
    assert made.status == 201 and made.json["Warnings"] == []
    identity = made.json["Id"]
    assert len(identity) == 64
    again = host.api("POST", "/containers/create", {"Image": host.image}, name="life")
    assert again.status == 409 and "/life" in again.message
    for verb, query, status in (
        ("start", {}, 204),
        ("start", {}, 304),
        ("pause", {}, 204),
        ("pause", {}, 409),
        ("unpause", {}, 204),
        ("unpause", {}, 409),
        ("rename", {"name": "life2"}, 204),
        ("restart", {"t": 5}, 204),
        ("kill", {"signal": "SIGNONE"}, 400),
        ("kill", {"signal": "SIGUSR1"}, 204),
        ("stop", {"t": 5}, 204),
        ("stop", {}, 304),
        ("kill", {}, 409),
    ):
        ref = "life2" if verb in ("restart", "kill", "stop") else identity
        answer = host.api("POST", f"/containers/{ref}/{verb}", **query)
        assert answer.status == status, (verb, answer.status, answer.body)
        assert status < 400 or answer.message
    assert host.api("DELETE", f"/containers/{identity}").status == 204
    gone = host.api("GET", f"/containers/{identity}/json")
    assert (gone.status, gone.message) == (404, f"No such container: {identity}")


def test_a_running_container_is_removed_by_force_only(host: RawHost) -> None:
    with container(host, name="held") as identity:
        refused = host.api("DELETE", f"/containers/{identity}")
        assert refused.status == 409 and "running" in refused.message
        assert host.api("DELETE", "/containers/held", force="True").status == 204


def test_an_image_that_is_not_there_is_404_so_that_clients_pull(host: RawHost) -> None:
    answer = host.api("POST", "/containers/create", {"Image": "nowhere:1"})
    assert answer.status == 404 and answer.message.startswith("No such image: nowhere:1")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "invalid JSON"),
        (b'"x"', "expected an object"),
        (b"", "config cannot be empty"),
        ({"Image": 1}, "Image"),
        ({"Image": "busybox", "Env": "A=1"}, "Env"),
        ({"Image": "busybox", "HostConfig": {"Memory": "1g"}}, "HostConfig.Memory"),
        ({"Image": "busybox", "HostConfig": {"RestartPolicy": {"Name": "x"}}}, "restart policy"),
        ({"Image": "busybox", "HostConfig": {"Binds": ["a:b:c:d"]}}, "volume specification"),
        ({"Image": "busybox", "HostConfig": {"Runtime": "kata"}}, "runtime name: kata"),
        ({"Image": "busybox", "HostConfig": {"PortBindings": {"x/tcp": []}}}, "port specification"),
        ({"Image": "busybox", "Healthcheck": {"Test": ["WHAT", "x"]}}, "WHAT"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(host: RawHost, body: Any, field: str) -> None:
    if isinstance(body, dict) and "Image" in body and body["Image"] == "busybox":
        body = {**body, "Image": host.image}
    answer = host.api(
        "POST", "/containers/create", body, headers={"Content-Type": "application/json"}
    )
    assert answer.status == 400, answer.body
    assert field in answer.message


def test_what_was_asked_comes_back_in_inspect(host: RawHost) -> None:
    config = {
        "Env": ["A=1"],
        "Labels": {"l": "x"},
        "ExposedPorts": {"9000/udp": {}},
        "Volumes": {"/anon": {}},
        "WorkingDir": "/tmp",
        "StopTimeout": 7,
        "HostConfig": {
            "Binds": ["/srv:/srv:ro", "named:/named", "other:/other:rw"],
            "Tmpfs": {"/scratch": "size=1m"},
            "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 4096}}],
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            "Memory": 64 << 20,
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "CapAdd": ["NET_ADMIN"],
            "ExtraHosts": ["db:192.0.2.1"],
            "SecurityOpt": ["no-new-privileges"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
            "Sysctls": {"net.core.somaxconn": "64"},
        },
    }
    with container(host, name="asked", **config) as identity:
        shown = host.ok_api("GET", f"/containers/{identity}/json")
        assert shown["Name"] == "/asked" and shown["State"]["Running"] is True
        assert "A=1" in shown["Config"]["Env"] and shown["Config"]["Labels"]["l"] == "x"
        assert set(shown["Config"]["ExposedPorts"]) == {"80/tcp", "9000/udp"}
        assert shown["Config"]["StopTimeout"] == 7
        asked = shown["HostConfig"]
        assert asked["Binds"] == ["/srv:/srv:ro", "named:/named", "other:/other:rw"]
        assert asked["Tmpfs"] == {"/scratch": "size=1m"}
        assert asked["Mounts"][0]["Target"] == "/t"
        assert asked["Memory"] == 64 << 20 and asked["NetworkMode"] == "default"
        assert asked["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
        assert asked["CapAdd"] == ["CAP_NET_ADMIN"] and asked["ExtraHosts"] == ["db:192.0.2.1"]
        assert asked["LogConfig"]["Config"] == {"max-size": "1m"}
        port = shown["NetworkSettings"]["Ports"]["80/tcp"][0]
        assert port["HostIp"] == "127.0.0.1" and int(port["HostPort"]) > 0
        kinds = {m["Destination"]: m["Type"] for m in shown["Mounts"]}
        assert kinds["/srv"] == "bind" and kinds["/named"] == kinds["/anon"] == "volume"
        listed = host.ok_api("GET", "/containers/json", filters={"name": ["^/asked$"]})
        assert [c["Id"] for c in listed] == [identity]
        assert listed[0]["Ports"][0]["IP"] == "127.0.0.1"
        assert listed[0]["HostConfig"]["NetworkMode"] == "default"
        place = listed[0]["NetworkSettings"]["Networks"]["bridge"]
        assert place["IPAddress"] and place["Gateway"]
    host.api("DELETE", "/volumes/named")


def test_a_container_that_is_never_killed_says_so(host: RawHost) -> None:
    with container(host, start=False, StopTimeout=-1) as identity:
        shown = host.ok_api("GET", f"/containers/{identity}/json")
        assert shown["Config"]["StopTimeout"] == -1


def test_a_label_s_name_may_have_blanks(host: RawHost) -> None:
    label = {"two words": "of=value, and more"}
    with container(host, start=False, Labels=label) as identity, container(host, start=False):
        for wanted in ("two words", "two words=of=value, and more"):
            query = {"filters": {"label": [wanted]}, "all": "1"}
            (found,) = host.ok_api("GET", "/containers/json", **query)
            assert found["Id"] == identity and found["Labels"] == label


def test_a_health_check_comes_back_without_what_nobody_asked_for(host: RawHost) -> None:
    """Clients compare it with what they sent; a default that was asked for is shown."""
    for asked in (
        {"Test": ["CMD", "true"], "Interval": 1_000_000_000},
        {"Test": ["CMD-SHELL", "true"], "Timeout": 30_000_000_000, "Retries": 3},
        {"Test": ["NONE"]},
    ):
        with container(host, start=False, Healthcheck=asked) as identity:
            found = host.ok_api("GET", f"/containers/{identity}/json")
            assert found["Config"]["Healthcheck"] == asked


def test_a_place_on_a_network_has_one_id_wherever_it_is_shown(host: RawHost) -> None:
    with container(host, Cmd=SLEEP) as identity, container(host, Cmd=SLEEP) as other:

        def shown(identity: str) -> str:
            found = host.ok_api("GET", f"/containers/{identity}/json")["NetworkSettings"]
            return str(found["Networks"]["bridge"]["EndpointID"])

        place = shown(identity)
        assert len(place) == 64 and place != shown(other)
        filters = {"id": [identity]}
        [row] = host.ok_api("GET", "/containers/json", filters=filters)
        assert row["NetworkSettings"]["Networks"]["bridge"]["EndpointID"] == place
        bridge = host.ok_api("GET", "/networks/bridge")
        assert bridge["Containers"][identity]["EndpointID"] == place


def test_the_list_knows_docker_s_filters(host: RawHost) -> None:
    with (
        container(host, name="one", Labels={"odd": 'a="b,c{}'}) as one,
        container(host, start=False, name="two") as two,
    ):

        def ids(**query: Any) -> list[str]:
            return [c["Id"] for c in host.ok_api("GET", "/containers/json", **query)]

        assert ids() == [one] and ids(all="1") == [two, one]
        assert ids(all="True", limit="-1") == [two, one] and ids(limit="1") == [two]
        assert ids(filters={"status": ["created"]}) == [two]
        assert ids(all="1", filters={"label": {'odd=a="b,c{}': True}}) == [one]
        assert ids(all="1", filters={"label": {"odd=a": True}}) == []
        assert ids(all="1", filters={"id": [one]}) == [one]
        assert ids(all="1", before="two") == [one] and ids(all="1", since="one") == [two]
        refused = host.api("GET", "/containers/json", filters={"nothing": ["x"]})
        assert refused.status == 400 and "nothing" in refused.message


def test_a_filter_without_values_asks_for_nothing(host: RawHost) -> None:
    with container(host, start=False, name="unasked"):
        for filters in ({"name": []}, {"id": {}}, {"isolation": ["default"]}):
            (found,) = host.ok_api("GET", "/containers/json", filters=filters, all="1")
            assert found["Names"] == ["/unasked"]
        assert host.api("GET", "/containers/json", filters={"odd": []}).status == 400


def test_what_has_no_terminal_is_not_resized_and_what_does_not_run_is_409(host: RawHost) -> None:
    with container(host) as identity:
        path = f"/containers/{identity}"
        assert host.api("POST", f"{path}/resize", h="5", w="6").status == 200
        host.api("POST", f"{path}/kill")
        refused = host.api("POST", f"{path}/resize", h="5", w="6")
        assert (refused.status, refused.message) == (409, f"Container {identity} is not running")


def test_limits_of_cpu_in_two_ways_are_a_conflict_of_an_update(host: RawHost) -> None:
    with container(host, HostConfig={"NanoCpus": 500_000_000}) as identity:
        path = f"/containers/{identity}/update"
        refused = host.api("POST", path, {"CpuQuota": 50_000})
        assert refused.status == 409 and "NanoCPUs has already been set" in refused.message
        assert host.api("POST", path, {"NanoCpus": 600_000_000}).status == 200


def test_an_archive_of_nothing_is_taken_where_a_directory_is(host: RawHost) -> None:
    with container(host) as identity:
        path = f"/containers/{identity}/archive"
        for where, status in (("/tmp", 200), ("/nowhere", 404), ("/etc/hostname", 400)):
            assert host.api("PUT", path, b"", path=where).status == status


def test_a_commit_s_configuration_is_checked_and_its_words_may_be_one(host: RawHost) -> None:
    with container(host, start=False) as identity:
        refused = host.api("POST", "/commit", {"Cmd": 5}, container=identity)
        assert refused.status == 400 and refused.message.startswith("Cmd: expected a list")
        made = host.api("POST", "/commit", {"Cmd": "true"}, container=identity, repo="one-word")
        assert made.status == 201
        try:
            shown = host.ok_api("GET", "/images/one-word/json")
            assert shown["Config"]["Cmd"] == ["true"]
        finally:
            assert host.api("DELETE", "/images/one-word").status == 200
    gone = host.api("GET", "/images/one-word/json")
    assert (gone.status, gone.message) == (404, "No such image: one-word")


def test_top_stats_changes_and_update(host: RawHost) -> None:
    with container(host, Cmd=["sh", "-c", "echo x >/new; exec sleep 60"]) as identity:
        base = f"/containers/{identity}"
        while not host.ok_api("GET", f"{base}/changes"):
            pass
        assert {"Path": "/new", "Kind": 1} in host.ok_api("GET", f"{base}/changes")
        shown = host.ok_api("GET", f"{base}/top", ps_args="aux")
        assert "PID" in shown["Titles"] and len(shown["Processes"]) == 1
        once = host.ok_api("GET", f"{base}/stats", stream="false")
        assert once["read"] > once["preread"] > "2020"
        assert once["memory_stats"]["usage"] > 0 and once["networks"]["eth0"]
        assert once["memory_stats"]["stats"]["pgfault"] > 0  # each line of memory.stat is there
        assert once["cpu_stats"]["system_cpu_usage"] > once["precpu_stats"]["system_cpu_usage"]
        shot = host.ok_api("GET", f"{base}/stats", stream="0", **{"one-shot": "1"})
        assert shot["preread"].startswith("0001")
        assert host.ok_api("POST", f"{base}/update", {"Memory": 128 << 20, "MemorySwap": -1}) == {
            "Warnings": None
        }
        assert host.ok_api("GET", f"{base}/json")["HostConfig"]["Memory"] == 128 << 20


def test_files_go_in_and_come_out(host: RawHost) -> None:
    with container(host) as identity:
        base = f"/containers/{identity}"
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            member = tarfile.TarInfo("greeting")
            member.size, member.mode = 5, 0o640
            tar.addfile(member, io.BytesIO(b"hello"))
        put = host.api("PUT", f"{base}/archive", packed.getvalue(), path="/tmp")
        assert put.status == 200
        stat = host.api("HEAD", f"{base}/archive", path="/tmp/greeting")
        about = json.loads(b64decode(stat.headers["X-Docker-Container-Path-Stat"]))
        assert (about["name"], about["size"], about["mode"]) == ("greeting", 5, 0o640)
        folder = host.api("HEAD", f"{base}/archive", path="/tmp")
        mode = json.loads(b64decode(folder.headers["X-Docker-Container-Path-Stat"]))["mode"]
        assert mode & (1 << 31) and mode & (1 << 20)  # Go's bits: a folder, sticky
        got = host.api("GET", f"{base}/archive", path="/tmp/greeting")
        assert got.headers["Content-Type"] == "application/x-tar"
        with tarfile.open(fileobj=io.BytesIO(got.body)) as tar:
            assert tar.extractfile("greeting").read() == b"hello"  # type: ignore[union-attr]
        absent = host.api("GET", f"{base}/archive", path="/nothing")
        assert absent.status == 404
        assert host.api("HEAD", f"{base}/archive", path="/nothing").status == 404
        assert host.api("GET", f"{base}/archive").status == 400
        whole = host.api("GET", f"{base}/export")
        with tarfile.open(fileobj=io.BytesIO(whole.body)) as tar:
            assert "tmp/greeting" in tar.getnames()


def test_prune_removes_what_does_not_run_by_its_label(host: RawHost) -> None:
    with (
        container(host, start=False, Labels={"prune": "me"}) as old,
        container(host, start=False) as other,
    ):
        done = host.ok_api("POST", "/containers/prune", filters={"label": ["prune=me"]})
        assert done["ContainersDeleted"] == [old]
        assert host.api("GET", f"/containers/{other}/json").status == 200


@pytest.mark.parametrize("form", ["plain", "gzip", "bzip2", "xz", "zstd", "two members of gzip"])
def test_an_archive_may_be_compressed_as_docker_takes_it(host: RawHost, form: str) -> None:
    content = os.urandom(700_000)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("file")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    plain = tar.getvalue()
    squeeze: dict[str, Any] = {
        "plain": bytes,
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zstd": zstandard.compress,
        "two members of gzip": lambda data: gzip.compress(data[:9999]) + gzip.compress(data[9999:]),
    }
    sent = squeeze[form](plain)
    with container(host) as identity:
        base = f"/containers/{identity}"
        assert host.api("PUT", f"{base}/archive", sent, path="/tmp").status == 200
        back = host.api("GET", f"{base}/archive", path="/tmp/file").body
        with tarfile.open(fileobj=io.BytesIO(back)) as archive:
            found = archive.extractfile("file")
            assert found is not None and found.read() == content
        if form != "plain":
            refused = host.api("PUT", f"{base}/archive", sent[: len(sent) // 2], path="/tmp")
            assert (refused.status, refused.message) == (400, "the archive ends early")
        if form in ("gzip", "bzip2", "xz"):  # zstd's blocks need not have a checksum
            damaged = sent[:1000] + bytes(2000) + sent[3000:]
            answer = host.api("PUT", f"{base}/archive", damaged, path="/tmp")
            assert answer.status == 400, answer.body


def test_an_engine_that_is_gone_is_said_at_once(host: RawHost) -> None:
    """503 with the reason; what does not need it is answered."""
    host.ok_api("GET", "/containers/json")
    host.kill_agent()
    try:
        refused = host.api("GET", "/containers/json")
        assert refused.status == 503
        assert "the engine of this node does not run" in refused.message
        assert host.api("GET", "/_ping").status == 200
    finally:
        host.start_agent()
    assert host.api("GET", "/containers/json").status == 200


def test_a_mount_has_docker_s_mode_of_its_form(host: RawHost) -> None:
    """The options of a short form as they were written, "z" for a volume without any."""
    config = {
        "Binds": [
            "/tmp:/a",
            "/tmp:/b:ro",
            "/tmp:/c:z",
            "mode1:/d",
            "mode1:/e:ro",
            "mode1:/f:nocopy",
        ],
        "Mounts": [
            {"Type": "bind", "Source": "/tmp", "Target": "/g"},
            {"Type": "volume", "Source": "mode1", "Target": "/h", "ReadOnly": True},
            {"Type": "tmpfs", "Target": "/i"},
        ],
    }
    expected = {"/a": "", "/b": "ro", "/c": "z", "/d": "z", "/e": "ro", "/f": "nocopy"}
    expected |= {"/g": "", "/h": "z", "/i": "", "/j": ""}
    try:
        with container(host, HostConfig=config, Volumes={"/j": {}}) as identity:
            shown = host.ok_api("GET", f"/containers/{identity}/json")
            listed = host.ok_api("GET", "/containers/json", filters={"id": [identity]})[0]
            for each in (shown, listed):
                assert {mount["Destination"]: mount["Mode"] for mount in each["Mounts"]} == expected
            assert shown["GraphDriver"]["Data"] == {}
    finally:
        host.api("DELETE", "/volumes/mode1")
