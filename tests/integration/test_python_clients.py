"""Clients in Python on a cluster: testcontainers, python-on-whales, aiodocker, docker-py."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiodocker
import docker
import pytest
from client_node import ClientNode, node
from swarm_world import SERVE

from swarmlite.testing import Cluster
from swarmlite.testing.containers.leading import leading_to

__all__ = ["node"]
pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]

DOCKER = next((p for p in ("/usr/local/bin/docker", "/usr/bin/docker") if Path(p).exists()), "")
PAGE = "mkdir -p /www && echo it works >/www/index.html && echo ready && exec httpd -f -h /www"

LOOK_UP = "until nslookup site; do sleep 0.2; done"


@pytest.fixture
def environment(
    node: ClientNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """testcontainers' engine; the host's ports are its own, not this machine's."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with leading_to(node.url, node.addr):
        yield


@pytest.mark.usefixtures("environment")
def test_testcontainers_waits_for_a_server_on_a_network_of_its_own(node: ClientNode) -> None:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    image = node.image("busybox:latest")
    with Network() as network:
        server = (
            DockerContainer(image)
            .with_command(["sh", "-c", PAGE])
            .with_exposed_ports(80)
            .with_network(network)
            .with_network_aliases("server")
            .waiting_for(LogMessageWaitStrategy("ready"))
        )
        with server, DockerContainer(image).with_command("sleep 60").with_network(network) as other:
            port = int(server.get_exposed_port(80))
            assert node.cluster.manager.get(port) == "it works\n"
            found = other.exec(["wget", "-qO-", "http://server/"])
            assert (found.exit_code, found.output) == (0, b"it works\n")
            inspected = server.get_wrapped_container()
            inspected.reload()
            place = inspected.attrs["NetworkSettings"]["Networks"][network.name]
            assert place["IPAddress"] and place["Gateway"]
    client = docker.DockerClient(base_url=node.url)
    assert client.containers.list(all=True) == []
    assert network.name not in {each.name for each in client.networks.list()}
    client.close()


@pytest.mark.skipif(not DOCKER, reason="there is no docker command on this machine")
def test_python_on_whales_sees_containers_images_volumes_and_networks(
    node: ClientNode, tmp_path: Path
) -> None:
    from python_on_whales import DockerClient

    whales = DockerClient(host=node.url, config=tmp_path, client_call=[DOCKER])
    image = node.image("busybox:latest")
    assert image in whales.image.inspect(image).repo_tags
    volume, network = whales.volume.create("gwp-vol"), whales.network.create("gwp-net")
    container = whales.run(
        image,
        ["sh", "-c", "echo hello >/data/file; cat /data/file; sleep 60"],
        detach=True,
        name="gwp",
        volumes=[(volume, "/data")],
        networks=[network],
        labels={"a": "1"},
        init=True,
    )
    try:
        assert [c.name for c in whales.ps(filters=[("label", "a=1")])] == ["gwp"]
        assert container.execute(["cat", "/data/file"]) == "hello"
        assert container.state.running
        assert "gwp-net" in container.network_settings.networks
        assert [v.name for v in whales.volume.list(filters=[("name", "gwp")])] == ["gwp-vol"]
    finally:
        container.remove(force=True)
        network.remove()
        volume.remove()


async def test_aiodocker_runs_a_container_and_reads_its_log(node: ClientNode) -> None:
    async with aiodocker.Docker(url=node.url) as client:
        config = {"Image": node.image("busybox:latest"), "Cmd": ["sh", "-c", "echo out; exit 3"]}
        container = await client.containers.create_or_replace("gwp-aio", config)
        try:
            await container.start()
            assert (await container.wait())["StatusCode"] == 3
            assert "".join(await container.log(stdout=True)) == "out\n"
            shown = await client.images.inspect(node.image("busybox:latest"))
            assert shown["Id"] == (await container.show())["Image"]
        finally:
            await container.delete(force=True)
        made = await client.networks.create({"Name": "gwp-aio"})
        await made.delete()


def test_docker_py_serves_from_every_host_and_scales(node: ClientNode, swarm: Cluster) -> None:
    """A network and a service of the swarm, its tasks, logs and port, until both are removed."""
    client = docker.DockerClient(base_url=node.url)
    try:
        image = node.image("busybox:latest")
        network = client.networks.create("front", driver="overlay", attachable=True)
        service = client.services.create(
            image,
            ["sh", "-c", f"echo serves; {SERVE}"],
            name="site",
            mode=docker.types.ServiceMode("replicated", replicas=2),
            networks=[network.name],
            endpoint_spec=docker.types.EndpointSpec(ports={8083: 80}),
            stop_grace_period=0,
        )
        swarm.wait_running("site", 2)
        for host in swarm.hosts:
            assert swarm.wait(lambda h=host: h.get(8083), 60, f"{host.name}:8083")
        assert service.scale(3)
        swarm.wait_running("site", 3)
        hosts = {node.id: node.attrs["Description"]["Hostname"] for node in client.nodes.list()}
        running = service.tasks(filters={"desired-state": "running"})
        assert {hosts[task["NodeID"]] for task in running} == {"manager1", "worker1", "worker2"}
        swarm.wait(lambda: b"".join(service.logs(stdout=True)).count(b"serves") >= 3, 60, "logs")
        plain = client.containers.run(
            image, ["sh", "-c", LOOK_UP], network=network.name, remove=True
        )
        assert b"Address" in plain
        service.remove()
        swarm.wait(
            lambda: service.id not in {t.get("ServiceID") for t in client.api.tasks()},
            60,
            "the tasks to go",
        )
        network.remove()
    finally:
        client.close()


@pytest.mark.skipif(not DOCKER, reason="there is no docker command on this machine")
def test_python_on_whales_makes_changes_and_removes_a_service(
    node: ClientNode, swarm: Cluster, tmp_path: Path
) -> None:
    """By Docker's command; what it reads of services, tasks and nodes is there."""
    from python_on_whales import DockerClient

    whales = DockerClient(host=node.url, config=tmp_path, client_call=[DOCKER])
    image = node.image("busybox:latest")
    made = whales.service.create(image, ["sleep", "1000"], labels={"a": "1"}, init=True)
    name = made.spec.name
    swarm.wait_running(name, 1)
    whales.service.scale({made: 3}, detach=True)
    swarm.wait_running(name, 3)
    assert [each.spec.name for each in whales.service.list()] == [name]
    tasks = whales.service.ps(made)
    assert {task.desired_state for task in tasks} == {"running"}
    assert {task.node_id for task in tasks} == {each.id for each in whales.node.list()}
    assert {each.description.hostname for each in whales.node.list()} == {
        "manager1",
        "worker1",
        "worker2",
    }
    whales.service.remove(made)
    assert whales.service.list() == []


async def test_aiodocker_keeps_services_secrets_and_nodes(node: ClientNode, swarm: Cluster) -> None:
    async with aiodocker.Docker(url=node.url) as client:
        template = {
            "ContainerSpec": {
                "Image": node.image("busybox:latest"),
                "Command": ["sleep", "1000"],
                "StopGracePeriod": 0,
            },
        }
        made = await client.services.create(
            task_template=template, name="aio", mode={"Replicated": {"Replicas": 2}}
        )
        await asyncio.to_thread(swarm.wait_running, "aio", 2)
        shown = await client.services.inspect(made["ID"])
        await client.services.update(
            made["ID"], version=shown["Version"]["Index"], image=node.image("busybox:latest")
        )
        assert (await client.services.inspect("aio"))["Spec"]["Name"] == "aio"
        tasks = await client.tasks.list(filters={"service": "aio", "desired-state": "running"})
        assert {task["ServiceID"] for task in tasks} == {made["ID"]}
        assert len(await client.nodes.list()) == 3
        assert await client.services.delete("aio")
