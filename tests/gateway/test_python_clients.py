"""Other clients in Python, in short: testcontainers, python-on-whales, aiodocker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import aiodocker
import docker
import pytest
from gateway_host import GatewayHost, gateway_host

from swarmlite.testing.containers.leading import leading_to

DOCKER = next((p for p in ("/usr/local/bin/docker", "/usr/bin/docker") if Path(p).exists()), "")
SERVE = "mkdir -p /www && echo it works >/www/index.html && echo ready && exec httpd -f -h /www"


@pytest.fixture(scope="module")
def node() -> Iterator[GatewayHost]:
    with gateway_host("gwp") as found:
        client = docker.DockerClient(base_url=found.url)
        client.images.pull(found.image("busybox:latest"))
        client.close()
        yield found


@pytest.fixture
def environment(
    node: GatewayHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """testcontainers' engine; the host's ports are its own, not this machine's."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with leading_to(node.url, node.host.addr):
        yield


@pytest.mark.usefixtures("environment")
def test_testcontainers_waits_for_a_server_on_a_network_of_its_own(node: GatewayHost) -> None:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.network import Network
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    image = node.image("busybox:latest")
    with Network() as network:
        server = (
            DockerContainer(image)
            .with_command(["sh", "-c", SERVE])
            .with_exposed_ports(80)
            .with_network(network)
            .with_network_aliases("server")
            .waiting_for(LogMessageWaitStrategy("ready"))
        )
        with server, DockerContainer(image).with_command("sleep 60").with_network(network) as other:
            port = int(server.get_exposed_port(80))
            assert node.host.get(port) == "it works\n"
            found = other.exec(["wget", "-qO-", "http://server/"])
            assert (found.exit_code, found.output) == (0, b"it works\n")
            inspected = server.get_wrapped_container()
            inspected.reload()
            place = inspected.attrs["NetworkSettings"]["Networks"][network.name]
            assert place["IPAddress"] and place["Gateway"]
    client = docker.DockerClient(base_url=node.url)
    assert client.containers.list(all=True) == []
    assert client.networks.list(filters={"type": "custom"}) == []
    client.close()


@pytest.mark.skipif(not DOCKER, reason="there is no docker command on this machine")
def test_python_on_whales_sees_containers_images_volumes_and_networks(
    node: GatewayHost, tmp_path: Path
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


async def test_aiodocker_runs_a_container_and_reads_its_log(node: GatewayHost) -> None:
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
