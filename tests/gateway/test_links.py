"""Links: a linked container in /etc/hosts and the environment, or by a name of one's own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from raw_host import RawHost
from test_containers import container


def output(host: RawHost, identity: str) -> str:
    host.ok_api("POST", f"/containers/{identity}/wait")
    logs = host.ok_api("GET", f"/containers/{identity}/json")["Id"]
    return host.api("GET", f"/containers/{logs}/logs", stdout="1").body.decode()


def address(host: RawHost, identity: str, network: str) -> str:
    found = host.ok_api("GET", f"/containers/{identity}/json")
    return str(found["NetworkSettings"]["Networks"][network]["IPAddress"])


def test_a_link_on_the_default_bridge_is_in_hosts_and_the_environment(host: RawHost) -> None:
    linked = {"Cmd": ["cat"], "OpenStdin": True, "Env": ["FOO=1"], "ExposedPorts": {"80/tcp": {}}}
    command = {"Cmd": ["sh", "-c", "env; cat /etc/hosts"], "Env": ["DB_ENV_FOO=own"]}
    asks: dict[str, Any] = {**command, "Tty": True, "HostConfig": {"Links": ["web:db", "/web"]}}
    with container(host, name="web", **linked) as web, container(host, start=False, **asks) as own:
        name = host.ok_api("GET", f"/containers/{own}/json")["Name"]
        host.ok_api("POST", f"/containers/{own}/start")
        lines = output(host, own).split("\r\n")
        where = address(host, web, "bridge")
        assert {f"DB_NAME={name}/db", "DB_ENV_FOO=own", "WEB_ENV_FOO=1"} <= set(lines)
        assert {f"DB_PORT=tcp://{where}:80", f"DB_PORT_80_TCP_ADDR={where}"} <= set(lines)
        assert f"{where}\tdb {web[:12]} web" in lines

        host.ok_api("POST", f"/containers/{web}/stop", t="0")
        refused = host.api("POST", f"/containers/{own}/start")
        assert refused.status == 409
        assert f"Cannot link to a non running container: /web AS {name}/db" in refused.message
        for alias in ("db", "web"):
            assert host.api("DELETE", f"/containers/{own}/{alias}", link="1").status == 204
        assert host.api("DELETE", f"/containers/{own}/db", link="1").status == 404
        host.ok_api("POST", f"/containers/{own}/start")
        host.ok_api("POST", f"/containers/{own}/wait")


def test_a_link_on_a_network_of_one_s_own_is_a_name_for_one_container(host: RawHost) -> None:
    host.ok_api("POST", "/networks/create", {"Name": "linking"})
    try:
        with ExitStack() as stack:
            on_it = {"Cmd": ["cat"], "OpenStdin": True, "HostConfig": {"NetworkMode": "linking"}}
            links = {"EndpointsConfig": {"linking": {"Links": ["upstream:bar"]}}}
            asks = stack.enter_context(container(host, NetworkingConfig=links, **on_it))
            other = stack.enter_context(container(host, **on_it))
            shown = host.ok_api("GET", f"/containers/{asks}/json")["NetworkSettings"]["Networks"]
            assert shown["linking"]["Links"] == ["upstream:bar"]
            upstream = stack.enter_context(container(host, name="upstream", **on_it))
            where = address(host, upstream, "linking")
            assert where in looked_up(host, asks, "bar")
            assert where not in looked_up(host, other, "bar")
            host.ok_api("POST", "/networks/linking/disconnect", {"Container": other})
            later = {"Container": other, "EndpointConfig": {"Links": ["upstream:late"]}}
            host.ok_api("POST", "/networks/linking/connect", later)
            assert where in looked_up(host, other, "late")
    finally:
        host.ok_api("DELETE", "/networks/linking")


def looked_up(host: RawHost, identity: str, name: str) -> str:
    body = {"Cmd": ["nslookup", name], "AttachStdout": True, "AttachStderr": True}
    made = host.ok_api("POST", f"/containers/{identity}/exec", body)["Id"]
    with host.hijack(f"/exec/{made}/start", {}) as stream:
        return b"".join(data for _, data in stream.frames()).decode()


def test_what_is_no_link_is_refused_when_the_container_is_made(host: RawHost) -> None:
    body = {"Image": host.image, "HostConfig": {"Links": ["web:a b"]}}
    refused = host.api("POST", "/containers/create", body)
    assert refused.status == 400 and "expected CONTAINER[:ALIAS]" in refused.message
