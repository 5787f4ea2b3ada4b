"""What programs that manage a swarm send to a manager's node, request by request.

Traefik and the fields that all of them read are in test_docker_swarm.py.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import time
from dataclasses import replace
from typing import Any

import pytest
from docker_clients import Answer, Api

from swarmlite.testing import Cluster
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

pytestmark = pytest.mark.timeout(240)
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; echo begun; while :; do sleep 0.1; done"]
RUNNING = {"desired-state": {"running": True}}
NO_LOGIN = {"X-Registry-Auth": base64.urlsafe_b64encode(b"{}").decode()}


@pytest.fixture
def api(swarm: Cluster) -> Api:
    return Api(swarm.manager)


@pytest.fixture
def app(api: Api, swarm: Cluster, busybox: str) -> str:
    """A service of one task on the node that is asked; its id."""
    spec = {
        "Name": "app",
        "Labels": {"shown": "yes"},
        "TaskTemplate": {
            "ContainerSpec": {"Image": busybox, "Command": SLEEP, "StopGracePeriod": 1_000_000_000},
            "Placement": {"Constraints": ["node.hostname==manager1"]},
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "UpdateConfig": {"Monitor": 100_000_000, "Parallelism": 1},
    }
    made = ok(api("POST", "/v1.41/services/create", spec), 201)
    swarm.wait_running("app", 1)
    return str(made.json["ID"])


@pytest.fixture
def tagged(registry: Registry) -> str:
    """The reference of an image whose tag `push` moves."""
    return push(registry, 1)


def push(registry: Registry, number: int) -> str:
    settings = {"Env": [f"NUMBER={number}", "PATH=/bin"], "Cmd": ["sh"]}
    return registry.push(replace(debian_images.busybox(), name="moves:now", settings=settings))


def ok(answer: Answer, status: int = 200) -> Answer:
    assert answer.status == status, (answer.status, answer.body)
    return answer


def frames(body: bytes) -> list[tuple[int, str]]:
    """(1 or 2, text) of a multiplexed stream."""
    found = []
    while body:
        kind, length = struct.unpack(">BxxxI", body[:8])
        found.append((kind, body[8 : 8 + length].decode()))
        body = body[8 + length :]
    return found


def terminal(api: Api, exec_id: str, typed: bytes) -> bytes:
    """What an exec with a terminal says to this, to its end."""
    body = b'{"Detach":false,"Tty":true}'
    head = (
        f"POST /v1.41/exec/{exec_id}/start HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\n"
        f"Upgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(api.path))
        client.sendall(head.encode() + body)
        said = b""
        while b"\r\n\r\n" not in said:
            said += client.recv(4096)
        assert said.startswith(b"HTTP/1.1 101 "), said
        client.sendall(typed)
        while data := client.recv(4096):
            said += data
    return said.partition(b"\r\n\r\n")[2]


def tasks(api: Api, service: str) -> list[dict[str, Any]]:
    wanted = {"service": {service: True}, **RUNNING}
    return [
        task
        for task in api.get("/v1.41/tasks", filters=wanted)
        if task["Status"]["State"] == "running"
    ]


def test_portainer_s_dashboard_is_filled(api: Api, app: str) -> None:
    """Its snapshot of an environment, and the lists behind each of its pages."""
    assert ok(api("GET", "/_ping")).headers["Docker-Experimental"] == "false"
    assert api.get("/v1.41/version")["ApiVersion"]
    info = api.get("/v1.41/info")
    assert info["Swarm"]["ControlAvailable"] and info["Swarm"]["NodeID"]
    assert info["NCPU"] > 0 and info["MemTotal"] > 0 and "Volume" in info["Plugins"]
    boxes = api.get("/v1.41/containers/json?all=1&size=0")
    (box,) = [b for b in boxes if b["Labels"].get("com.docker.swarm.service.name") == "app"]
    assert box["Labels"]["com.docker.swarm.node.id"] == info["Swarm"]["NodeID"]
    shown = api.get(f"/v1.41/containers/{box['Id']}/json")
    assert shown["State"]["Running"] and shown["Image"].startswith("sha256:")
    assert {"Id", "RepoTags", "Size", "Created", "Containers"} <= set(
        api.get("/v1.41/images/json?all=0")[0]
    )
    assert "Volumes" in api.get("/v1.41/volumes", filters={"dangling": ["true"]})
    networks = {network["Name"]: network for network in api.get("/v1.41/networks")}
    assert networks["ingress"]["Ingress"] and networks["ingress"]["Scope"] == "swarm"
    assert {"bridge", "host", "none"} <= set(networks)
    assert api.get("/v1.41/plugins") == []
    assert {"Images", "Containers", "Volumes", "LayersSize"} <= set(api.get("/v1.41/system/df"))
    for kind in ("secrets", "configs"):
        assert isinstance(api.get(f"/v1.41/{kind}"), list)
    until = int(time.time()) + 1  # the last event may be of this very second
    seen = ok(api("GET", f"/v1.41/events?since={until - 3600}&until={until}")).body
    kinds = {json.loads(line)["Type"] for line in seen.splitlines()}
    assert "container" in kinds


def test_portainer_s_buttons_work(api: Api, app: str, swarm: Cluster) -> None:
    """A service's forced update and logs, a console, a node's label."""
    before = tasks(api, app)
    service = api.get(f"/v1.41/services/{app}")
    spec = service["Spec"]
    spec["TaskTemplate"]["ForceUpdate"] = spec["TaskTemplate"].get("ForceUpdate", 0) + 1
    path = f"/v1.41/services/{app}/update?version={service['Version']['Index']}"
    ok(api("POST", f"{path}&registryAuthFrom=spec", spec, headers=NO_LOGIN))

    def replaced() -> dict[str, Any] | None:
        now = tasks(api, app)
        return now[0] if len(now) == 1 and now[0]["ID"] != before[0]["ID"] else None

    task = swarm.wait(replaced, 60, "another task")
    assert task is not None
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    query = "stdout=1&stderr=1&timestamps=0&since=0&tail=100&follow=0"
    for where in (f"services/{app}", f"tasks/{task['ID']}", f"containers/{container}"):
        told = swarm.wait(
            lambda where=where: frames(ok(api("GET", f"/v1.41/{where}/logs?{query}")).body),
            60,
            f"the logs of {where}",
        )
        assert (1, "begun\n") in told
    console = {
        "id": container, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True,
        "Tty": True, "Cmd": ["sh"], "User": "root",
    }  # fmt: skip
    made = ok(api("POST", f"/v1.41/containers/{container}/exec", console), 201).json["Id"]
    assert b"42" in terminal(api, made, b"echo $((6 * 7)); exit 3\n")
    exec_path = f"/v1.41/exec/{made}/json"  # the output ends before the code is known
    swarm.wait(lambda: api.get(exec_path)["ExitCode"] == 3, 60, "its exit code")
    used = api.get(f"/v1.41/containers/{container}/stats?stream=false")
    assert used["memory_stats"]["usage"] > 0
    node = api.get(f"/v1.41/nodes/{task['NodeID']}")
    changed = {**node["Spec"], "Labels": {"seen": "yes"}}
    version = node["Version"]["Index"]
    ok(api("POST", f"/v1.41/nodes/{node['ID']}/update?version={version}", changed))
    node = api.get(f"/v1.41/nodes/{node['ID']}")
    assert node["Spec"]["Labels"] == {"seen": "yes"}
    version = node["Version"]["Index"]
    back = {**node["Spec"], "Labels": {}}
    ok(api("POST", f"/v1.41/nodes/{node['ID']}/update?version={version}", back))


def test_swarmpit_finds_services_tasks_and_their_statistics(
    api: Api, app: str, swarm: Cluster
) -> None:
    """Its server asks by 1.30; its agents look for containers by the labels of the swarm."""
    old = "/v1.30"
    assert api.get(f"{old}/version")["Version"] and api.get(f"{old}/info")["Swarm"]["Managers"] == 1
    (service,) = api.get(f"{old}/services", filters={"id": [app]})
    assert service["CreatedAt"] and service["UpdatedAt"] and service["Spec"]["Name"] == "app"
    assert service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].partition("@")[0]
    (task,) = tasks(api, app)
    assert task["ServiceID"] == app and task["Slot"] == 1 and task["DesiredState"] == "running"
    assert {each["ID"] for each in api.get(f"{old}/nodes")} >= {task["NodeID"]}
    label = {"label": [f"com.docker.swarm.service.id={app}"]}
    (box,) = api.get(f"{old}/containers/json", filters=label)
    assert box["Labels"]["com.docker.swarm.task.id"] == task["ID"]
    assert box["Labels"]["com.docker.swarm.task.name"] == f"app.1.{task['ID']}"
    used = api.get(f"{old}/containers/{box['Id']}/stats?stream=false")
    assert used["cpu_stats"]["cpu_usage"]["total_usage"] > 0 and used["read"]

    def said() -> list[tuple[int, str]]:
        query = "details=true&stdout=true&stderr=true&timestamps=true&tail=all"
        return frames(ok(api("GET", f"{old}/services/{app}/logs?{query}")).body)

    ((kind, line),) = swarm.wait(said, 60, "the line")
    stamp, details, text = line.split(" ", 2)
    assert (kind, text) == (1, "begun\n") and stamp.endswith("Z")
    assert f"com.docker.swarm.task.id={task['ID']}" in details.split(",")


def test_shepherd_moves_a_service_to_what_its_tag_is_now(
    api: Api, swarm: Cluster, registry: Registry, tagged: str
) -> None:
    """By the digest that the registry has: to the newer image, not twice, and back."""
    spec = {
        "Name": "herd",
        "Labels": {"shepherd.enable": "true"},
        "TaskTemplate": {
            "ContainerSpec": {"Image": tagged, "Command": SLEEP, "StopGracePeriod": 1_000_000_000}
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "UpdateConfig": {"Monitor": 100_000_000},
        "RollbackConfig": {"Monitor": 100_000_000},
    }
    ok(api("POST", "/services/create", spec), 201)
    swarm.wait_running("herd", 1)

    def update() -> str:
        """`docker service update --image TAG`, and the image that was given."""
        (found,) = api.get("/services", filters={"label": {"shepherd.enable=true": True}})
        there = api.get(f"/distribution/{tagged}/json")["Descriptor"]["digest"]
        found["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] = f"{tagged}@{there}"
        path = f"/services/{found['ID']}/update?version={found['Version']['Index']}"
        ok(api("POST", path, found["Spec"], headers=NO_LOGIN))
        return f"{tagged}@{there}"

    def images() -> list[str]:
        return [task["Spec"]["ContainerSpec"]["Image"] for task in tasks(api, "herd")]

    first = update()
    swarm.wait(lambda: images() == [first], 60, "the digest")
    kept = [task["ID"] for task in tasks(api, "herd")]
    assert update() == first
    assert [task["ID"] for task in tasks(api, "herd")] == kept, "nothing new replaces no task"
    push(registry, 2)
    second = update()
    assert second != first
    swarm.wait(lambda: images() == [second], 60, "the newer image")
    shown = api.get("/services/herd")
    assert shown["PreviousSpec"]["TaskTemplate"]["ContainerSpec"]["Image"] == first
    version = shown["Version"]["Index"]
    path = f"/services/{shown['ID']}/update?version={version}&rollback=previous"
    ok(api("POST", path, shown["Spec"]))
    swarm.wait(lambda: images() == [first], 60, "the older image")


def test_ouroboros_updates_services_by_docker_py(
    api: Api, swarm: Cluster, registry: Registry, tagged: str
) -> None:
    """It compares the digest in a service's image with the registry's."""
    import docker

    client = docker.DockerClient(base_url=f"unix://{api.path}")
    try:
        service = client.services.create(tagged, SLEEP, name="snake", labels={"ouroboros": "yes"})
        swarm.wait_running("snake", 1)
        push(registry, 2)
        newest = client.images.get_registry_data(tagged).attrs["Descriptor"]["digest"]
        (service,) = client.services.list(filters={"label": "ouroboros=yes"})
        image = service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
        assert image.partition("@")[0] == tagged and newest not in image
        service.update(image=f"{tagged}@{newest}")
        swarm.wait(
            lambda: (
                [t["Spec"]["ContainerSpec"]["Image"] for t in tasks(api, "snake")]
                == [f"{tagged}@{newest}"]
            ),
            60,
            "the newer image",
        )
        service.reload()
        assert service.attrs["Spec"]["Labels"] == {"ouroboros": "yes"}, "the rest stays as it was"
        assert service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Command"] == SLEEP
    finally:
        client.close()


def test_watchtower_makes_a_container_again_of_its_newer_image(
    api: Api, registry: Registry, tagged: str
) -> None:
    """With all that `inspect` said of it, and on each of its networks."""
    ok(api("POST", f"/v1.25/images/create?fromImage={tagged}"))
    for name in ("wt-one", "wt-two"):
        ok(api("POST", "/v1.25/networks/create", {"Name": name}), 201)
    config = {
        "Image": tagged, "Cmd": SLEEP, "Env": ["MINE=1"],
        "Labels": {"com.centurylinklabs.watchtower.enable": "true"},
        "HostConfig": {"NetworkMode": "wt-one", "RestartPolicy": {"Name": "always"}},
    }  # fmt: skip
    made = ok(api("POST", "/v1.25/containers/create?name=tower", config), 201).json["Id"]
    try:
        ok(api("POST", "/v1.25/networks/wt-two/connect", {"Container": made}))
        ok(api("POST", f"/v1.25/containers/{made}/start"), 204)
        wanted = {"status": {"running": True, "restarting": True}}
        rows = api.get("/v1.25/containers/json", filters=wanted)
        assert made in {row["Id"] for row in rows}
        old = api.get(f"/v1.25/containers/{made}/json")
        push(registry, 2)
        ok(api("POST", f"/v1.25/images/create?fromImage={tagged}"))
        newer = api.get(f"/v1.25/images/{tagged}/json")["Id"]
        assert newer != api.get(f"/v1.25/images/{old['Image']}/json")["Id"]
        again = _again(api, old)
        shown = api.get(f"/v1.25/containers/{again}/json")
        assert shown["Image"] == newer and shown["Name"] == "/tower" and shown["State"]["Running"]
        assert shown["Config"]["Labels"] == old["Config"]["Labels"]
        assert "MINE=1" in shown["Config"]["Env"]
        assert set(shown["NetworkSettings"]["Networks"]) == {"wt-one", "wt-two"}
        assert shown["HostConfig"]["RestartPolicy"]["Name"] == "always"
        ok(api("DELETE", f"/v1.25/images/{old['Image']}?force=1"))
    finally:
        api("DELETE", "/v1.25/containers/tower?force=1&v=1")
        for name in ("wt-one", "wt-two"):
            ok(api("DELETE", f"/v1.25/networks/{name}"), 204)


def _again(api: Api, old: dict[str, Any]) -> str:
    """Its steps: stop, wait, remove, create with one network, connect the rest, start."""
    identity = old["Id"]
    ok(api("POST", f"/v1.25/containers/{identity}/kill?signal=SIGTERM"), 204)
    deadline = time.monotonic() + 60
    while api.get(f"/v1.25/containers/{identity}/json")["State"]["Running"]:
        assert time.monotonic() < deadline, "it does not stop"
        time.sleep(0.1)
    ok(api("DELETE", f"/v1.25/containers/{identity}?force=1"), 204)
    places = dict(old["NetworkSettings"]["Networks"])
    first = old["HostConfig"]["NetworkMode"]
    for place in places.values():
        place["Aliases"] = [a for a in place.get("Aliases") or () if not identity.startswith(a)]
    body = {
        **{k: v for k, v in old["Config"].items() if k != "Hostname"},
        "HostConfig": old["HostConfig"],
        "NetworkingConfig": {"EndpointsConfig": {first: places.pop(first)}},
    }
    name = old["Name"].lstrip("/")
    made = str(ok(api("POST", f"/v1.25/containers/create?name={name}", body), 201).json["Id"])
    for network, place in places.items():
        ok(
            api(
                "POST",
                f"/v1.25/networks/{network}/connect",
                {"Container": made, "EndpointConfig": place},
            )
        )
    ok(api("POST", f"/v1.25/containers/{made}/start"), 204)
    return made
