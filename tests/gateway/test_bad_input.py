"""What clients send by mistake or by malice, and what happens to what they were promised."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

import pytest
from raw_host import RawHost
from test_containers import container
from test_streams import execute

from swarmlite.gateway.flags import by_field

WAIT_S = 60.0
AWKWARD = (
    'a"b',
    "a=b=c",
    "{}",
    "[x]",
    "äöü",
    "a,b",
    "%2F",
    "back\\slash",
    "a\nb",
    "*",
    "'",
    "&x=1",
)


@contextmanager
def connected(host: RawHost) -> Iterator[socket.socket]:
    """Bytes to the socket, as they are."""
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(WAIT_S)
        made.connect(str(host.socket_path))
        yield made


def answered(connection: socket.socket) -> bytes:
    """All to the end of the connection."""
    found = b""
    while data := connection.recv(65536):
        found += data
    return found


@pytest.mark.parametrize(
    "body", [b"{", b"[1, 2", b"nothing", b'{"Image": }', b"\xff\xfe", b"[" * 9999]
)
def test_broken_json_is_400_and_says_so(host: RawHost, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    refused = host.api("POST", "/containers/create", body, headers=headers)
    assert refused.status == 400
    assert "JSON" in refused.message or "expected an object" in refused.message


def test_unknown_fields_are_passed_over(host: RawHost) -> None:
    with container(host, start=False, NoSuchField={"a": [1]}, HostConfig={"Nor": "this"}) as made:
        assert host.ok_api("GET", f"/containers/{made}/json")["Id"] == made


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"Image": 7}, "Image"),
        ({"Image": "x", "Cmd": {"a": 1}}, "Cmd"),
        ({"Image": "x", "Env": "A=b"}, "Env"),
        ({"Image": "x", "HostConfig": []}, "HostConfig"),
        ({"Image": "x", "HostConfig": {"Memory": "1g"}}, "HostConfig.Memory"),
        ({"Image": "x", "HostConfig": {"PortBindings": {"80/tcp": "8080"}}}, "PortBindings"),
        ({"Image": "x", "Labels": {"a": 1}}, "Labels"),
        ({"Image": "x", "Tty": "yes"}, "Tty"),
    ],
)
def test_a_wrong_type_is_400_with_its_field(host: RawHost, body: Any, field: str) -> None:
    refused = host.api("POST", "/containers/create", body)
    assert refused.status == 400
    assert field in refused.message


def test_a_body_of_ten_megabytes_is_taken_and_a_larger_one_refused(host: RawHost) -> None:
    with container(host, start=False, NoSuchField="x" * 10_000_000) as made:
        assert host.ok_api("GET", f"/containers/{made}/json")["Id"] == made
    body = {"Image": host.image, "NoSuchField": "x" * 17_000_000}
    refused = host.api("POST", "/containers/create", body)
    assert (refused.status, refused.message.split(" has ")[0]) == (400, "the request body")


def test_a_client_that_sends_a_byte_at_a_time_is_answered(host: RawHost) -> None:
    with connected(host) as slow:
        for byte in b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n":
            slow.sendall(bytes([byte]))
        assert answered(slow).endswith(b"OK")


def test_a_client_that_leaves_in_mid_request_holds_nothing(host: RawHost) -> None:
    """In the head, and in a body that was announced and never came."""
    before = host.open_connections()
    for text in (b"POST /containers/create HTT", b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"):
        with connected(host) as leaving:
            leaving.sendall(text)
    deadline = time.monotonic() + WAIT_S
    while host.open_connections() > before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert host.api("GET", "/_ping").status == 200


def test_what_is_no_http_is_400_and_ends_its_connection_only(host: RawHost) -> None:
    with connected(host) as wrong:
        wrong.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b" 400 " in answered(wrong).partition(b"\r\n")[0]
    assert host.api("GET", "/_ping").status == 200


@pytest.mark.parametrize("value", AWKWARD)
def test_a_label_filter_holds_with_any_characters(host: RawHost, value: str) -> None:
    """One that was passed over would list, and remove, everything."""
    with (
        container(host, start=False, Labels={"stack": value}) as mine,
        container(host, start=False, Labels={"stack": "another"}),
    ):
        filters = json.dumps({"label": [f"stack={value}"]})
        found = host.ok_api("GET", "/containers/json", all="1", filters=filters)
        assert [each["Id"] for each in found] == [mine]
        removed = host.ok_api("POST", "/containers/prune", filters=filters)
        assert removed["ContainersDeleted"] == [mine]


def test_an_agent_that_is_killed_in_mid_exec_ends_neither_the_command_nor_its_container(
    host: RawHost,
) -> None:
    """The stream is the command's own, and ends with it."""
    with container(host) as identity:
        script = "echo begun; read line; echo $line"
        run = execute(host, identity, "sh", "-c", script, AttachStdin=True)
        with host.hijack(f"/exec/{run}/start", {}) as stream:
            stream.until(b"begun")
            host.replace_agent()
            stream.send(b"typed later\n")
            assert stream.raw().endswith(b"typed later\n")  # to its end
        assert host.ok_api("GET", f"/containers/{identity}/json")["State"]["Running"] is True


def test_a_process_that_is_killed_loses_no_write_that_was_answered(host: RawHost) -> None:
    """Containers and volumes that it answered for are there for the next one."""
    made = []
    try:
        for number in range(5):
            body = {"Image": host.image, "Cmd": ["sleep", "600"]}
            made.append(host.ok_api("POST", "/containers/create", body)["Id"])
            host.ok_api("POST", f"/containers/{made[-1]}/start")
            volume = host.ok_api("POST", "/volumes/create", {"Name": f"kept{number}"})
            host.end_gateway(signal.SIGKILL)
            host.start_gateway()
            assert host.ok_api("GET", f"/containers/{made[-1]}/json")["State"]["Running"] is True
            assert host.ok_api("GET", f"/volumes/{volume['Name']}")["Name"] == f"kept{number}"
        listed = {each["Id"] for each in host.ok_api("GET", "/containers/json")}
        assert set(made) <= listed
    finally:
        for identity in made:
            host.api("DELETE", f"/containers/{identity}", force="1")
        for number in range(5):
            host.api("DELETE", f"/volumes/kept{number}")


def test_a_process_that_is_killed_in_mid_attach_costs_its_container_nothing(host: RawHost) -> None:
    """Neither its input nor a line of its log, and the next one is attached to as before."""
    script = "read begin; seq 1 30000; exec cat"
    streams = {"stream": "1", "stdin": "1", "stdout": "1"}
    with container(host, Cmd=["sh", "-c", script], OpenStdin=True) as identity:
        refs = (identity, identity[:12])  # by the supervisor, and by the engine
        clients = [host.hijack(f"/containers/{ref}/attach", **streams) for ref in refs]
        clients[0].send(b"\n")
        clients[0].until(b"\n500\n")
        host.end_gateway(signal.SIGKILL)
        for client in clients:
            client.close()
        host.start_gateway()
        with host.hijack(f"/containers/{identity}/attach", **streams) as again:
            again.send(b"typed later\n")
            again.until(b"typed later\n")
        with host.hijack(f"/containers/{identity}/attach", logs="1", stdout="1") as log:
            lines = b"".join(data for _, data in log.frames()).split()
        assert lines == [b"%d" % number for number in range(1, 30001)] + [b"typed", b"later"]


def test_a_process_that_is_killed_in_mid_write_leaves_no_half_of_it(host: RawHost) -> None:
    """What was being made is there as a whole or not at all, and all that was answered is."""
    body = {"Image": host.image, "Cmd": ["true"], "Labels": {"written": "1"}}
    told: list[str] = []

    def write() -> None:
        with contextlib.suppress(OSError, HTTPException):
            while True:
                told.append(host.ok_api("POST", "/containers/create", body)["Id"])

    with ThreadPoolExecutor(3) as writers:
        done = [writers.submit(write) for _ in range(3)]
        try:
            deadline = time.monotonic() + WAIT_S
            while len(told) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            host.end_gateway(signal.SIGKILL)
    assert all(each.result() is None for each in done)
    host.start_gateway()
    found = host.ok_api("GET", "/containers/json", all="1", filters={"label": {"written=1": True}})
    assert set(told) <= {each["Id"] for each in found}
    for each in found:
        path = f"/containers/{each['Id']}"
        host.ok_api("POST", f"{path}/start")
        assert host.ok_api("POST", f"{path}/wait")["StatusCode"] == 0
        host.ok_api("DELETE", path)


def test_a_query_as_long_as_a_whole_spec_is_taken(host: RawHost) -> None:
    """dockerode repeats the spec of an update in the query; so does whoever is built on it."""
    long = {f"E{number}": "x" * 100 for number in range(2000)}
    assert host.api("GET", "/containers/json", **long).status == 200
    headers = {"X-Registry-Config": "e30=", "X-Long": "x" * 200_000}
    assert host.api("GET", "/containers/json", headers=headers).status == 200


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("GET", "/containers/json", "is-task"),
        ("GET", "/images/json", "dangling"),
        ("GET", "/networks", "dangling"),
        ("GET", "/volumes", "dangling"),
        ("POST", "/images/prune", "dangling"),
        ("POST", "/volumes/prune", "all"),
        ("POST", "/build/prune", "inuse"),
        ("POST", "/build/prune", "shared"),
    ],
)
def test_a_filter_that_is_neither_true_nor_false_is_400_also_where_nothing_is(
    host: RawHost, method: str, path: str, key: str
) -> None:
    refused = host.api(method, path, filters={key: ["odd"]})
    assert refused.status == 400
    assert refused.message.startswith(f"invalid filter '{key}=odd'")


@pytest.mark.parametrize("value", AWKWARD)
def test_label_filters_of_networks_and_volumes_hold_with_any_characters(
    host: RawHost, value: str
) -> None:
    mine, other = ({"Name": name, "Labels": {"stack": name}} for name in ("mine", "other"))
    mine["Labels"] = {"stack": value}
    filters = json.dumps({"label": {f"stack={value}": True}})
    try:
        for body in (mine, other):
            host.ok_api("POST", "/networks/create", body)
            host.ok_api("POST", "/volumes/create", body)
        found = host.ok_api("GET", "/networks", filters=filters)
        assert [each["Name"] for each in found] == ["mine"]
        found = host.ok_api("GET", "/volumes", filters=filters)["Volumes"]
        assert [each["Name"] for each in found] == ["mine"]
        removed = host.ok_api("POST", "/networks/prune", filters=filters)
        assert removed["NetworksDeleted"] == ["mine"]
        removed = host.ok_api("POST", "/volumes/prune", filters=filters, version="1.41")
        assert removed["VolumesDeleted"] == ["mine"]
    finally:
        for name in ("mine", "other"):
            host.api("DELETE", f"/networks/{name}")
            host.api("DELETE", f"/volumes/{name}")


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("containers", {"HostConfig": {"CapAdd": ["ODD"]}}, "HostConfig.CapAdd 'CAP_ODD': no such"),
        ("containers", {"StopSignal": "ODD"}, "StopSignal 'ODD': unknown signal"),
        ("containers", {"Env": ["=x"]}, "Env '=x': expected NAME=value"),
        ("containers", {"WorkingDir": "here"}, "WorkingDir"),
        ("containers", {"HostConfig": {"IpcMode": "odd"}}, "HostConfig.IpcMode: invalid IPC mode"),
        ("containers", {"HostConfig": {"PidMode": "odd"}}, "HostConfig.PidMode: invalid PID mode"),
        ("containers", {"HostConfig": {"UTSMode": "odd"}}, "HostConfig.UTSMode: invalid UTS mode"),
        ("containers", {"MacAddress": "odd"}, "invalid MAC address: 'odd'"),
        ("containers", {"HostConfig": {"Sysctls": {"kernel.odd": "1"}}}, "HostConfig.Sysctls"),
        ("containers", {"HostConfig": {"Dns": ["odd"]}}, "HostConfig.Dns"),
        ("networks", {"IPAM": {"Config": [{"Subnet": "odd"}]}}, "IPAM.Config.Subnet: 'odd' is not"),
    ],
)
def test_a_bad_value_is_400_with_its_field_and_not_with_a_flag(
    host: RawHost, path: str, body: Any, message: str
) -> None:
    refused = host.api("POST", f"/v1.44/{path}/create", {"Image": host.image, "Name": "x", **body})
    assert refused.status == 400
    assert refused.message.startswith(message)


@pytest.mark.parametrize(
    ("network", "place", "message"),
    [
        ("bridge", {"Aliases": ["a"]}, "network-scoped aliases are only supported"),
        ("bridge", {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}, "user specified IP address"),
        ("mine", {"IPAMConfig": {"IPv4Address": "odd"}}, "invalid IPv4 address: 'odd'"),
        ("mine", {"IPAMConfig": {"IPv6Address": "10.0.0.1"}}, "invalid IPv6 address: '10.0.0.1'"),
        ("mine", {"MacAddress": "02:42"}, "invalid MAC address: '02:42'"),
    ],
)
def test_a_place_on_a_network_that_cannot_be_is_refused_before_a_container_is_made(
    host: RawHost, network: str, place: dict[str, Any], message: str
) -> None:
    body = {"Image": host.image, "NetworkingConfig": {"EndpointsConfig": {network: place}}}
    refused = host.api("POST", "/containers/create", body)
    assert refused.status == 400 and refused.message.startswith(message), refused.message


def test_flags_are_told_apart_from_what_only_begins_like_one() -> None:
    assert by_field("services", "--env 'x': odd") == "TaskTemplate.ContainerSpec.Env 'x': odd"
    assert by_field("services", "--filter mode=odd: one of") == "invalid filter 'mode=odd': one of"
    for message in ("--env-file x: odd", "--nothing: odd", "what --env says: odd", "--"):
        assert by_field("services", message) == message
    assert by_field("volumes", "--env 'x': odd") == "--env 'x': odd"


def test_networks_that_others_are_made_of_and_pools_that_overlap_are_403(host: RawHost) -> None:
    pool = {"IPAM": {"Config": [{"Subnet": "10.87.7.0/24"}]}}
    made = [{"Name": "pattern", "ConfigOnly": True, **pool}]
    made.append({"Name": "of-it", "ConfigFrom": {"Network": "pattern"}})
    try:
        for body in made:
            host.ok_api("POST", "/networks/create", body)
        refused = host.api("POST", "/networks/create", {"Name": "third", **pool})
        assert refused.status == 403 and refused.message.startswith("Pool overlaps with other one")
        refused = host.api("DELETE", "/networks/pattern")
        assert refused.status == 403 and "configuration network" in refused.message
    finally:
        for name in ("of-it", "pattern"):
            assert host.api("DELETE", f"/networks/{name}").status == 204


def test_a_tag_of_the_name_gives_way_to_the_parameter_s(host: RawHost) -> None:
    query = {"repo": "retagged:one", "tag": "two"}
    assert host.api("POST", f"/images/{host.image}/tag", **query).status == 201
    assert host.api("DELETE", "/images/retagged:two").status == 200
    assert host.api("GET", "/images/retagged:one/json").status == 404
