"""Docker's clients on a cluster of three hosts: swarm, node, service, stack, secret, config."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_clients import COMMANDS, Api, Docker, docker_home

from swarmlite.testing import Cluster
from swarmlite.testing import images as debian_images
from swarmlite.testing.registry import Registry

EXAMPLES = Path(__file__).parents[2] / "compose-examples"
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def api(swarm: Cluster) -> Api:
    return Api(swarm.manager)


needs_docker = pytest.mark.skipif(not COMMANDS, reason="Docker's command is not installed")


@pytest.fixture(params=sorted(COMMANDS))
def docker(swarm: Cluster, request: pytest.FixtureRequest) -> Iterator[Docker]:
    with docker_home() as home:
        yield Docker(COMMANDS[request.param], swarm.manager, home)


QUICK = ("--update-monitor", "100ms", "--rollback-monitor", "100ms", "--stop-grace-period", "1s")


def test_a_service_from_its_creation_to_its_removal(
    docker: Docker, busybox: str, swarm: Cluster
) -> None:
    made = docker(
        "service", "create", "-q", "--name", "web", "--replicas", "2", *QUICK,
        "--label", "a=1", "--limit-memory", "64m", busybox, "sleep", "1000",
    ).splitlines()[-1]  # fmt: skip
    assert len(made) == 25
    assert docker("service", "ls", "--format", "{{.ID}} {{.Name}} {{.Replicas}}") == (
        f"{made[:12]} web 2/2"
    )
    tasks = docker("service", "ps", "web", "--format", "{{.Name}} {{.DesiredState}}").splitlines()
    assert sorted(tasks) == ["web.1 Running", "web.2 Running"]
    docker("service", "update", "-q", "--env-add", "A=1", "--label-add", "b=2", "web")
    shown = json.loads(docker("service", "inspect", "web"))[0]
    assert shown["Spec"]["Labels"] == {"a": "1", "b": "2"}
    assert shown["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == ["A=1"]
    assert shown["PreviousSpec"]["Labels"] == {"a": "1"}
    assert shown["UpdateStatus"]["State"] == "completed"
    docker("service", "scale", "-d", "web=3")
    docker("service", "rollback", "-q", "web")
    assert docker("service", "ls", "--filter", "name=web", "--format", "{{.Replicas}}") == "2/2"
    assert "Update order:      stop-first" in docker("service", "inspect", "--pretty", "web")
    assert docker("service", "rm", "web") == "web"
    assert "no such service: web" in docker.run("service", "ps", "web").stderr


def test_an_update_that_changes_no_task_replaces_none(
    docker: Docker, busybox: str, swarm: Cluster
) -> None:
    """Of a service of our own command, too, whose spec holds what Docker's cannot say."""
    swarm.manager.cli(
        "service", "create", "-q", "--name", "own", "--update-progress-deadline", "30s",
        "--publish", f"published=8087,target=80,host_ip={swarm.manager.addr}",
        busybox, "sleep", "1000", timeout_s=90,
    )  # fmt: skip
    before = docker("service", "ps", "-q", "own")
    docker("service", "update", "-q", "--label-add", "x=y", "own")
    assert docker("service", "ps", "-q", "own") == before
    spec = json.loads(swarm.manager.cli("service", "inspect", "own"))[0]["Spec"]
    assert spec["UpdateConfig"]["ProgressDeadline"] == 30_000_000_000
    assert spec["EndpointSpec"]["Ports"][0]["HostIP"] == swarm.manager.addr
    assert spec["Labels"] == {"x": "y"}


def test_logs_say_where_each_line_is_from(docker: Docker, busybox: str, swarm: Cluster) -> None:
    docker("secret", "create", "s1", "-", input="hidden\n")
    docker("config", "create", "c1", "-", input="shown\n")
    docker(
        "service", "create", "-d", "--name", "job", "--secret", "s1", "--config", "c1",
        "--network", "host", "--restart-condition", "none", *QUICK,
        busybox, "sh", "-c", "cat /run/secrets/s1 /c1; echo bad >&2",
    )  # fmt: skip

    def finished() -> bool:
        return "Complete" in docker("service", "ps", "job", "--format", "{{.CurrentState}}")

    swarm.wait(finished, 60, "the job to end")
    task = docker("service", "ps", "-q", "--no-trunc", "job")
    node = json.loads(docker("inspect", task))[0]["NodeID"]
    service = json.loads(docker("service", "inspect", "job"))[0]["ID"]
    done = docker.run("service", "logs", "--raw", "--details", "job")
    where = (
        f"com.docker.swarm.node.id={node},com.docker.swarm.service.id={service},"
        f"com.docker.swarm.task.id={task}"
    )
    assert sorted(done.stdout.splitlines()) == [f"{where} hidden", f"{where} shown"]
    assert done.stderr.splitlines() == [f"{where} bad"]
    one = docker.run("service", "logs", "-t", "--tail", "1", task)
    assert len((one.stdout + one.stderr).splitlines()) == 1
    in_use = docker.run("secret", "rm", "s1")
    assert in_use.returncode == 1
    assert "secret s1 is in use by the following service: job" in in_use.stderr
    docker("service", "rm", "job")
    assert docker("secret", "rm", "s1") == "s1"
    assert docker("config", "rm", "c1") == "c1"


@needs_docker
def test_a_followed_log_ends_with_its_client(api: Api, busybox: str, swarm: Cluster) -> None:
    swarm.manager.cli(
        "service", "create", "-q", "--name", "talk", busybox, "sh", "-c",
        "while true; do echo line; sleep 0.2; done", timeout_s=90,
    )  # fmt: skip
    with docker_home() as home:
        following = subprocess.Popen(
            [next(iter(COMMANDS.values())), "-H", f"unix://{api.path}", "service", "logs", "-f",
             "--raw", "talk"],
            stdout=subprocess.PIPE, text=True, env={"DOCKER_CONFIG": str(home)},
        )  # fmt: skip
        try:
            assert following.stdout is not None
            assert [following.stdout.readline() for _ in range(3)] == ["line\n"] * 3
        finally:
            following.kill()
            following.communicate()
    assert api("GET", "/_ping").body == b"OK"


def test_nodes_tokens_and_the_swarm_s_settings(docker: Docker, swarm: Cluster) -> None:
    nodes = docker("node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}")
    assert [line.strip() for line in sorted(nodes.splitlines())] == [
        "manager1 Ready Leader", "worker1 Ready", "worker2 Ready",
    ]  # fmt: skip
    docker("node", "update", "--label-add", "zone=a", "worker1")
    assert docker("node", "ls", "-q", "--filter", "node.label=zone=a") == json.loads(
        docker("node", "inspect", "worker1")
    )[0]["ID"]  # fmt: skip
    docker("node", "update", "--label-rm", "zone", "worker1")
    assert docker("node", "inspect", "worker1", "--format", "{{len .Spec.Labels}}") == "0"
    assert "is not down and can't be removed" in docker.run("node", "rm", "worker1").stderr
    token = docker("swarm", "join-token", "-q", "worker")
    assert f"docker swarm join --token {token} " in docker("swarm", "join-token", "worker")
    assert docker("swarm", "join-token", "--rotate", "-q", "worker") not in ("", token)
    docker("swarm", "update", "--task-history-limit", "6")
    assert "Task History Retention Limit: 6" in docker("info")
    docker("swarm", "update", "--task-history-limit", "5")
    assert "no unlock key is set" in docker.run("swarm", "unlock-key").stderr
    assert docker("swarm", "ca").startswith("-----BEGIN CERTIFICATE-----")
    assert "This node is already part of a swarm" in docker.run("swarm", "init").stderr
    assert "participating as a manager" in docker.run("swarm", "leave").stderr


def test_a_worker_answers_as_docker_s_does(swarm: Cluster) -> None:
    worker = Api(swarm.workers[0])
    for path in ("/services", "/nodes", "/tasks", "/swarm", "/secrets", "/configs", "/nodes/x"):
        answer = worker("GET", path)
        assert answer.status == 503
        assert answer.message == (
            "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster"
            " state. Please run this command on a manager node or promote the current node to a"
            " manager."
        )
    place = worker.get("/info")["Swarm"]
    assert (place["LocalNodeState"], place["ControlAvailable"]) == ("active", False)
    assert place["NodeAddr"] == swarm.workers[0].addr
    assert place["RemoteManagers"][0]["Addr"] == f"{swarm.manager.addr}:2377"
    assert worker("HEAD", "/_ping").headers["Swarm"] == "active/worker"


@pytest.mark.machine
def test_managers_that_do_not_answer_are_503_with_the_reason(api: Api, swarm: Cluster) -> None:
    import signal

    swarm.manager.signal_process("manager", signal.SIGKILL)
    answer = api("GET", "/services")
    if answer.status != 200:  # it is back within a moment
        assert answer.status == 503
        assert "manager" in answer.message
    swarm.wait(lambda: api("GET", "/services").status == 200, 60, "the manager again")


def test_a_stack_is_deployed_changed_and_removed_with_nothing_but_its_own(
    docker: Docker, swarm: Cluster, registry: Registry, busybox: str
) -> None:
    debian_images.push_examples(registry.address, EXAMPLES / "web", url=registry.url)
    compose = str(EXAMPLES / "web" / "compose.yml")
    docker("service", "create", "-d", "--name", "other", busybox, "sleep", "1000")
    docker("stack", "deploy", "-c", compose, "shop", REGISTRY=registry.address)
    swarm.wait(lambda: docker("stack", "services", "shop", "--format", "{{.Replicas}}") == "3/3",
               60, "the stack to run")  # fmt: skip
    assert docker("stack", "ls", "--format", "{{.Name}} {{.Services}}") == "shop 1"
    assert len(docker("stack", "ps", "-q", "shop").splitlines()) == 3
    before = docker("stack", "ps", "-q", "shop")
    docker("stack", "deploy", "-c", compose, "shop", REGISTRY=registry.address)
    assert docker("stack", "ps", "-q", "shop") == before, "the same file replaces no task"
    docker("stack", "rm", "shop")
    assert docker("service", "ls", "--format", "{{.Name}}") == "other"
    assert docker("stack", "ls", "--format", "{{.Name}}") == ""
    docker("service", "rm", "other")


@needs_docker
@pytest.mark.parametrize("example", ["voting", "webapp-redis"])
def test_the_other_examples_run_by_docker_s_command(
    swarm: Cluster, registry: Registry, example: str
) -> None:
    debian_images.push_examples(registry.address, EXAMPLES / example, url=registry.url)
    compose = str(EXAMPLES / example / "compose.yml")
    with docker_home() as home:
        docker = Docker(next(iter(COMMANDS.values())), swarm.manager, home)
        docker("stack", "deploy", "-c", compose, example, REGISTRY=registry.address)

        def runs() -> bool:
            shown = docker("stack", "services", example, "--format", "{{.Replicas}}").splitlines()
            return bool(shown) and all(len(set(each.split("/"))) == 1 for each in shown)

        swarm.wait(runs, 90, f"{example} to run")
        docker("stack", "rm", example)
        assert docker("service", "ls", "-q") == ""


def test_two_updates_of_one_version_are_out_of_sequence(api: Api, busybox: str) -> None:
    spec = {
        "Name": "twice",
        "TaskTemplate": {"ContainerSpec": {"Image": busybox, "Command": ["sleep", "1000"]}},
        "Mode": {"Replicated": {"Replicas": 0}},
    }
    made = api("POST", "/services/create", spec)
    assert made.status == 201
    ref = made.json["ID"]
    again = api("POST", "/services/create", spec)
    assert again.status == 409
    version = api.get(f"/services/{ref}")["Version"]["Index"]
    spec["Labels"] = {"a": "1"}
    assert api("POST", f"/services/{ref}/update?version={version}", spec).status == 200
    refused = api("POST", f"/services/{ref}/update?version={version}", spec)
    assert (refused.status, refused.message) == (
        500, "rpc error: code = Unknown desc = update out of sequence",
    )  # fmt: skip
    assert refused.headers["Content-Type"] == "application/json"
    assert api("POST", f"/services/{ref}/update?version=x", spec).status == 400
    assert api("POST", "/services/absent/update?version=1", spec).status == 404
    version = api.get(f"/services/{ref}")["Version"]["Index"]
    for kind in ("Secret", "Config"):
        absent = {f"{kind}ID": "absent", f"{kind}Name": "absent", "File": {"Name": "absent"}}
        container = {**spec["TaskTemplate"]["ContainerSpec"], f"{kind}s": [absent]}  # type: ignore[index]
        missing = {**spec, "TaskTemplate": {"ContainerSpec": container}}
        refused = api("POST", f"/services/{ref}/update?version={version}", missing)
        assert (refused.status, f"{kind.lower()} not found" in refused.message) == (400, True)
        missing["Name"] = "another"
        assert api("POST", "/services/create", missing).status == 400
    back = api("POST", f"/services/{ref}/update?version={version}&rollback=previous", spec)
    assert back.status == 200
    assert api.get(f"/services/{ref}")["Spec"]["Labels"] == {}
    assert api("DELETE", f"/services/{ref}").status == 200
    assert api("DELETE", f"/services/{ref}").status == 404


def test_filters_hold_with_any_characters_and_unknown_ones_are_refused(
    api: Api, busybox: str
) -> None:
    odd = "com.docker.stack.namespace"
    for name, stack in (("one", "a"), ("two", "a=b ü,\"'{}"), ("three", "")):
        spec = {
            "Name": name,
            "Labels": {odd: stack} if stack else {},
            "TaskTemplate": {"ContainerSpec": {"Image": busybox}},
            "Mode": {"Replicated": {"Replicas": 0}},
        }
        assert api("POST", "/services/create", spec).status == 201

    def names(filters: object) -> list[str]:
        return sorted(s["Spec"]["Name"] for s in api.get("/services", filters=filters))

    assert names({"label": [f"{odd}=a"]}) == ["one"]
    assert names({"label": {f"{odd}=a=b ü,\"'{{}}": True}}) == ["two"]
    assert names({"label": {odd: True}}) == ["one", "two"]
    assert names({"label": [odd, f"{odd}=a"]}) == ["one"], "all of them must hold"
    assert names({"label": [f"{odd}=absent"]}) == []
    assert names({"mode": ["global"]}) == []
    assert names({"name": ["t"]}) == ["three", "two"]
    assert names({"runtime": ["plugin"]}) == []
    for path in ("/services", "/tasks", "/nodes", "/secrets", "/configs"):
        refused = api("GET", path, filters={"lable": ["x"]})
        assert (refused.status, refused.message) == (400, "invalid filter 'lable'")
        assert api("GET", f"{path}?filters=[]").status == 400


def test_what_traefik_portainer_and_swarmpit_read_is_there(
    api: Api, busybox: str, swarm: Cluster
) -> None:
    swarm.manager.cli("network", "create", "-d", "overlay", "front")
    swarm.manager.cli(
        "service", "create", "-q", "--name", "site", "--network", "front", "--label", "t.enable=1",
        "--publish", "8088:80", "--replicas", "2", busybox, "sleep", "1000", timeout_s=90,
    )  # fmt: skip
    # Traefik: by version 1.24 too.
    for version in ("v1.24", "v1.44", "v1.55"):
        service = api.get(f"/{version}/services")[0]
        networks = {
            n["Id"]: n for n in api.get(f"/{version}/networks", filters={"scope": ["swarm"]})
        }
        vips = service["Endpoint"]["VirtualIPs"]
        assert {networks[vip["NetworkID"]]["Name"] for vip in vips} == {"front", "ingress"}
        assert all("/" in vip["Addr"] for vip in vips)
        assert service["Spec"]["EndpointSpec"]["Mode"] == "vip"
        wanted = {"service": {service["ID"]: True}, "desired-state": {"running": True}}
        tasks = api.get(f"/{version}/tasks", filters=wanted)
        assert len(tasks) == 2
        for task in tasks:
            assert task["Status"]["State"] == "running"
            assert len(task["Status"]["ContainerStatus"]["ContainerID"]) == 64
            assert {a["Network"]["ID"] for a in task["NetworksAttachments"]} == set(networks)
            assert all(
                "/" in address for a in task["NetworksAttachments"] for address in a["Addresses"]
            )
            node = api.get(f"/{version}/nodes/{task['NodeID']}")
            assert node["Status"]["Addr"] == swarm.host(node["Description"]["Hostname"]).addr
    assert api.get("/v1.24/services")[0]["Spec"]["Networks"][0]["Target"]
    # Portainer and Swarmpit.
    shown = api.get("/services?status=true")[0]
    assert shown["ServiceStatus"] == {"RunningTasks": 2, "DesiredTasks": 2, "CompletedTasks": 0}
    assert shown["Endpoint"]["Ports"][0] == {
        "Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8088, "PublishMode": "ingress",
    }  # fmt: skip
    assert "ServiceStatus" not in api.get("/v1.40/services?status=true")[0]
    info = api.get("/info")
    assert info["Swarm"]["Cluster"]["ID"] == api.get("/swarm")["ID"]
    assert (info["Swarm"]["Nodes"], info["Swarm"]["Managers"]) == (3, 1)
    manager = api.get("/nodes", filters={"role": ["manager"]})[0]
    assert manager["ManagerStatus"]["Addr"] == f"{swarm.manager.addr}:2377"
    assert {p["Type"] for p in manager["Description"]["Engine"]["Plugins"]} >= {"Network", "Volume"}
    assert manager["Description"]["TLSInfo"]["TrustRoot"].startswith("-----BEGIN")
    current = api.get("/tasks", filters={"service": ["site"], "_up-to-date": ["true"]})
    assert len(current) == 2
    assert api("GET", "/tasks", filters={"service": ["absent"]}).status == 404


def test_secrets_never_leave_and_labels_of_both_can_change(api: Api) -> None:
    data = "aGlkZGVu"
    for kind in ("secrets", "configs"):
        made = api("POST", f"/{kind}/create", {"Name": "x", "Labels": {"a": "b"}, "Data": data})
        assert made.status == 201
        ref = made.json["ID"]
        assert api("POST", f"/{kind}/create", {"Name": "x", "Data": data}).status == 409
        shown = api.get(f"/{kind}/x")
        assert ("Data" in shown["Spec"]) == (kind == "configs")
        assert data not in json.dumps(api.get("/secrets"))
        version = shown["Version"]["Index"]
        spec = {**shown["Spec"], "Labels": {"c": "d"}}
        assert api("POST", f"/{kind}/{ref}/update?version={version}", spec).status == 200
        assert api.get(f"/{kind}/{ref}")["Spec"]["Labels"] == {"c": "d"}
        version = api.get(f"/{kind}/{ref}")["Version"]["Index"]
        other = api("POST", f"/{kind}/{ref}/update?version={version}", {"Name": "y"})
        assert (other.status, "only its labels" in other.message) == (400, True)
        assert api.get(f"/{kind}", filters={"label": ["c=d"]})[0]["ID"] == ref
        assert api("DELETE", f"/{kind}/{ref}").status == 204
        assert api("GET", f"/{kind}/{ref}").status == 404
    assert api("POST", "/secrets/create", {"Name": "big", "Data": "QQ" * 400_000}).status == 400


def test_bad_bodies_are_400_with_the_field(api: Api) -> None:
    answer = api("POST", "/services/create", {"Name": 5})
    assert (answer.status, answer.message) == (400, "Name: expected a string, not a number")
    missing = api("POST", "/services/create", {"Name": "x"})
    assert (missing.status, "container must be provided" in missing.message) == (400, True)
    answer = api("POST", "/services/create", {"Name": "x", "TaskTemplate": {"PluginSpec": {}}})
    assert answer.status == 400
    local = {
        "Name": "x",
        "TaskTemplate": {"ContainerSpec": {"Image": "i"}, "Networks": [{"Target": "absent"}]},
    }
    assert api("POST", "/services/create", local).status == 404


def test_many_clients_at_once_are_answered(api: Api) -> None:
    wrong: list[int] = []

    def ask() -> None:
        for path in ("/services", "/tasks", "/nodes", "/info"):
            if (status := api("GET", path).status) != 200:
                wrong.append(status)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
