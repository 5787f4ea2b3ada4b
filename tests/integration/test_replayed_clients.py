"""What clients that cannot be had here send to one host of a cluster, request by request."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from docker_clients import Answer, Api

from swarmlite.testing import Cluster

pytestmark = pytest.mark.timeout(240)

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
SESSION = "org.testcontainers.session-id"


class Node:
    """A manager of the cluster, asked by path, version and query; `image` is on it."""

    def __init__(self, swarm: Cluster, image: str) -> None:
        self._api, self.image = Api(swarm.manager), image

    def api(
        self, method: str, path: str, body: Any = None, /, *, version: str = "", **query: Any
    ) -> Answer:
        said = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in query.items()}
        where = (f"/v{version}" if version else "") + path
        return self._api(method, f"{where}?{urlencode(said, doseq=True)}" if said else where, body)

    def ok_api(self, method: str, path: str, body: Any = None, /, **query: Any) -> Any:
        """What it answers; it must be well."""
        answer = self.api(method, path, body, **query)
        assert answer.status < 400, f"{method} {path}: {answer.body!r}"
        return answer.json if answer.body.strip() else None


@pytest.fixture
def host(swarm: Cluster, busybox: str) -> Node:
    swarm.manager.cli("pull", "-q", busybox)
    return Node(swarm, busybox)


@pytest.fixture
def session(host: Node) -> Iterator[str]:
    """A session that left a running container, a network, a volume and an image."""
    name = uuid.uuid4().hex
    labels = {SESSION: name}
    host.ok_api("POST", "/networks/create", {"Name": f"n{name}", "Labels": labels})
    host.ok_api("POST", "/volumes/create", {"Name": f"v{name}", "Labels": labels})
    config = {
        "Image": host.image,
        "Cmd": SLEEP,
        "Labels": labels,
        "Volumes": {"/anonymous": {}},
        "HostConfig": {"NetworkMode": f"n{name}", "Binds": [f"v{name}:/data"]},
    }
    made = host.ok_api("POST", "/containers/create", config)["Id"]
    host.ok_api("POST", f"/containers/{made}/start")
    changes = [f"LABEL {SESSION}={name}"]
    host.ok_api("POST", "/commit", None, container=made, repo=f"i{name}", changes=changes)
    # Another session's, which must stay.
    host.ok_api("POST", "/networks/create", {"Name": f"o{name}", "Labels": {SESSION: "other"}})
    yield name
    host.ok_api("DELETE", f"/networks/o{name}")


def left(host: Node, name: str) -> list[str]:
    return [
        *(row["Id"] for row in host.ok_api("GET", "/containers/json", all="1", filters=by(name))),
        *(row["Name"] for row in host.ok_api("GET", "/networks", filters=by(name))),
        *(row["Name"] for row in host.ok_api("GET", "/volumes", filters=by(name))["Volumes"] or ()),
        *(row["Id"] for row in host.ok_api("GET", "/images/json", all="1", filters=by(name))),
    ]


def by(name: str) -> dict[str, dict[str, bool]]:
    return {"label": {f"{SESSION}={name}": True}}


def test_ryuk_removes_all_of_a_session_and_nothing_else(host: Node, session: str) -> None:
    """As its newer versions do it: lists by label, and removals one by one."""
    version = host.api("HEAD", "/_ping").headers["Api-Version"]
    assert len(left(host, session)) == 4
    found = host.ok_api("GET", "/containers/json", version=version, all="1", filters=by(session))
    for row in found:
        assert row["Labels"][SESSION] == session and row["Created"] > 0
        gone = host.api("DELETE", f"/containers/{row['Id']}", version=version, force="1", v="1")
        assert gone.status == 204
    for row in host.ok_api("GET", "/networks", version=version, filters=by(session)):
        assert row["Labels"] == {SESSION: session} and row["Created"]
        assert host.api("DELETE", f"/networks/{row['Id']}", version=version).status == 204
    for row in host.ok_api("GET", "/volumes", version=version, filters=by(session))["Volumes"]:
        assert row["Labels"] == {SESSION: session} and row["CreatedAt"]
        gone = host.api("DELETE", f"/volumes/{row['Name']}", version=version, force="1")
        assert gone.status == 204
    for row in host.ok_api("GET", "/images/json", version=version, filters=by(session)):
        gone = host.api("DELETE", f"/images/{row['Id']}", version=version, force="1")
        assert gone.status == 200
    assert left(host, session) == []
    assert host.ok_api("GET", "/networks", filters=by("other"))
    # A second look finds nothing, and what is gone meanwhile is said so.
    assert host.api("DELETE", f"/containers/{found[0]['Id']}", force="1").status == 404


def test_ryuk_s_older_versions_prune(host: Node, session: str) -> None:
    """0.5: containers one by one, the rest by prune with the label."""
    for row in host.ok_api("GET", "/containers/json", version="1.29", all="1", filters=by(session)):
        host.ok_api("DELETE", f"/containers/{row['Id']}", version="1.29", force="1", v="1")
    pruned = host.ok_api("POST", "/networks/prune", version="1.29", filters=by(session))
    assert pruned["NetworksDeleted"] == [f"n{session}"]
    pruned = host.ok_api("POST", "/volumes/prune", version="1.29", filters=by(session))
    assert pruned["VolumesDeleted"] == [f"v{session}"]
    filters = {**by(session), "dangling": {"false": True}}
    assert host.ok_api("POST", "/images/prune", version="1.29", filters=filters)["ImagesDeleted"]
    assert left(host, session) == []
    assert host.ok_api("GET", "/networks", filters=by("other"))


@pytest.mark.parametrize("driver", ["bridge", "overlay"])
def test_what_coolify_reads_is_there(host: Node, driver: str) -> None:
    """Its server asks by `docker`, its sentinel by the API: states, health, labels, addresses."""
    host.ok_api(
        "POST", "/networks/create", {"Name": "coolify", "Driver": driver, "Attachable": True}
    )
    labels = {
        "coolify.managed": "true",
        "coolify.applicationId": "7",
        "coolify.type": "application",
    }
    config = {
        "Image": host.image,
        "Cmd": SLEEP,
        "Labels": labels,
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000},
        "HostConfig": {"NetworkMode": "coolify", "RestartPolicy": {"Name": "unless-stopped"}},
        "NetworkingConfig": {"EndpointsConfig": {"coolify": {"Aliases": ["app"]}}},
    }
    made = host.ok_api("POST", "/containers/create", config, name="app-7")["Id"]
    try:
        host.ok_api("POST", f"/containers/{made}/start")
        wanted = {"label": ["coolify.managed=true", "coolify.applicationId=7"]}
        (row,) = host.ok_api("GET", "/containers/json", all="true", filters=wanted)
        assert (row["Names"], row["State"], row["Labels"]) == (["/app-7"], "running", labels)
        assert row["Status"].startswith("Up ")
        shown = host.ok_api("GET", f"/containers/{made}/json")
        assert shown["State"]["Status"] == "running" and shown["RestartCount"] == 0
        assert shown["State"]["Health"]["Status"] in ("starting", "healthy")
        assert shown["Config"]["Labels"] == labels and shown["State"]["StartedAt"]
        network = host.ok_api("GET", "/networks/coolify")
        place = network["Containers"][made]
        assert place["Name"] == "app-7" and "/" in place["IPv4Address"]
        assert shown["NetworkSettings"]["Networks"]["coolify"]["IPAddress"] in place["IPv4Address"]
        used = host.ok_api("GET", f"/containers/{made}/stats", stream="false")
        assert used["memory_stats"]["usage"] > 0 and "cpu_stats" in used and "precpu_stats" in used
        logs = host.api("GET", f"/containers/{made}/logs", stdout="1", stderr="1", tail="100")
        assert logs.status == 200
    finally:
        host.ok_api("DELETE", f"/containers/{made}", force="1", v="1")
        host.ok_api("DELETE", "/networks/coolify")
