"""docker-py in front of one host: its containers, as its own suite looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import pytest
from docker.errors import APIError
from docker.utils.socket import next_frame_header, read_exactly
from gateway_host import GatewayHost, gateway_host

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]


@pytest.fixture(scope="module")
def node() -> Iterator[GatewayHost]:
    with gateway_host("gwc") as found:
        docker.DockerClient(base_url=found.url).images.pull(found.image("busybox:latest"))
        yield found


@pytest.fixture
def client(node: GatewayHost) -> Iterator[docker.APIClient]:
    found = docker.APIClient(base_url=node.url, timeout=60)
    yield found
    for container in found.containers(all=True):
        found.remove_container(container["Id"], force=True, v=True)
    for network in found.networks(filters={"type": "custom"}):
        found.remove_network(network["Id"])
    found.close()


@pytest.fixture
def image(node: GatewayHost) -> str:
    return node.image("busybox:latest")


def run(client: docker.APIClient, image: str, command: Any = SLEEP, **options: Any) -> str:
    host = options.pop("host", {})
    if host:
        options["host_config"] = client.create_host_config(**host)
    made = client.create_container(image, command, **options)["Id"]
    client.start(made)
    return str(made)


@contextmanager
def hijacked(stream: Any) -> Iterator[Any]:
    """The socket below docker-py's stream; closed in the end, which docker-py leaves to others."""
    below = stream._sock
    try:
        yield below
    finally:
        stream._response.close()
        stream.close()
        below.close()


def test_what_was_killed_has_ended_when_the_answer_comes(
    client: docker.APIClient, image: str
) -> None:
    container = run(client, image)
    client.kill(container)
    state = client.inspect_container(container)["State"]
    assert (state["Running"], state["ExitCode"]) == (False, 137)
    client.remove_container(container)


def test_a_wait_ends_with_a_run_also_where_the_policy_begins_another(
    client: docker.APIClient, image: str
) -> None:
    policy = {"restart_policy": {"Name": "always"}}
    container = run(client, image, ["sh", "-c", "exit 3"], host=policy)
    assert client.wait(container)["StatusCode"] == 3
    with pytest.raises(APIError, match="stop the container before"):
        client.remove_container(container)


def test_a_bare_name_takes_a_variable_away_and_is_shown(
    client: docker.APIClient, image: str
) -> None:
    container = run(client, image, ["env"], environment=["PATH", "Foo", "Other=one", "Blank="])
    client.wait(container)
    shown = client.inspect_container(container)["Config"]["Env"]
    assert {"Foo", "Other=one", "Blank="} <= set(shown)
    written = client.logs(container).decode().splitlines()
    assert "Other=one" in written and not any(line.startswith("Foo") for line in written)


def test_what_was_asked_of_the_host_is_shown(client: docker.APIClient, image: str) -> None:
    host = client.create_host_config(isolation="default", volume_driver="local")
    made = client.create_container(image, host_config=host, runtime="runc")
    shown = client.inspect_container(made)["HostConfig"]
    assert (shown["Isolation"], shown["VolumeDriver"], shown["Runtime"]) == (
        "default",
        "local",
        "runc",
    )
    with pytest.raises(APIError) as caught:
        client.create_container(
            image, host_config=client.create_host_config(log_config={"type": "asdf"})
        )
    assert caught.value.explanation == "logger: no log driver named 'asdf' is registered"


def test_a_line_of_a_log_is_a_frame(client: docker.APIClient, image: str) -> None:
    container = run(client, image, ["sh", "-c", "echo hello; echo world; printf rest"])
    client.wait(container)
    assert list(client.logs(container, stream=True)) == [b"hello\n", b"world\n", b"rest"]


def test_an_exec_s_output_has_frames_unless_its_start_asks_for_a_terminal(
    client: docker.APIClient, image: str
) -> None:
    container = run(client, image)
    made = client.exec_create(container, ["printf", "hello"], tty=True)
    with hijacked(client.exec_start(made, socket=True)) as stream:
        assert next_frame_header(stream) == (1, 5)
        assert read_exactly(stream, 5) == b"hello"
    made = client.exec_create(container, ["printf", "hello"], tty=True)
    assert client.exec_start(made, tty=True) == b"hello"
    made = client.exec_create(container, ["sh", "-c", "echo out; echo err >&2"])
    assert client.exec_start(made, demux=True) == (b"out\n", b"err\n")
    assert client.exec_inspect(made)["ExitCode"] == 0


def test_the_keys_that_detach_are_those_of_the_exec_s_creation(
    client: docker.APIClient, image: str
) -> None:
    client._general_configs["detachKeys"] = "ctrl-p"
    container = run(client, image)
    made = client.exec_create(container, ["cat"], stdin=True, tty=True)
    with hijacked(client.exec_start(made, tty=True, socket=True)) as stream:
        stream.settimeout(30)
        stream.sendall(b"\x10")
        while stream.recv(4096):
            pass  # until the engine closes it


def test_a_container_is_on_a_network_by_its_aliases(client: docker.APIClient, image: str) -> None:
    network = client.create_network("gwc-net")["Id"]
    config = client.create_networking_config(
        {"gwc-net": client.create_endpoint_config(aliases=["first"])}
    )
    one = run(client, image, host={"network_mode": "gwc-net"}, networking_config=config)
    two = run(client, image)
    client.connect_container_to_network(two, network, aliases=["second"], ipv4_address=None)
    shown = client.inspect_network(network)["Containers"]
    assert set(shown) == {one, two} and shown[one]["IPv4Address"].endswith("/16")
    for container, name in ((two, "first"), (one, "second")):
        made = client.exec_create(container, ["ping", "-c1", "-W5", name])
        said = client.exec_start(made)
        assert client.exec_inspect(made)["ExitCode"] == 0, said
    with pytest.raises(APIError) as caught:
        client.remove_network(network)
    assert caught.value.status_code == 403
    with pytest.raises(APIError) as caught:
        client.connect_container_to_network(two, network)
    assert caught.value.status_code == 403
    client.disconnect_container_from_network(two, network, force=True)
    for force in (False, True):
        with pytest.raises(APIError):
            client.disconnect_container_from_network(two, network, force=force)
    assert [n["Name"] for n in client.networks(filters={"dangling": True})] == []


def test_link_local_addresses_are_shown(client: docker.APIClient, image: str) -> None:
    config = client.create_networking_config(
        {"bridge": client.create_endpoint_config(link_local_ips=["169.254.8.8"])}
    )
    container = run(client, image, host={"network_mode": "bridge"}, networking_config=config)
    place = client.inspect_container(container)["NetworkSettings"]["Networks"]["bridge"]
    assert place["IPAMConfig"]["LinkLocalIPs"] == ["169.254.8.8"]


def test_a_container_becomes_an_image(client: docker.APIClient, image: str) -> None:
    container = run(client, image, ["touch", "/made"])
    client.wait(container)
    made = client.commit(container, "gwc/made", "1", changes=["EXPOSE 8000", 'CMD ["ls", "/made"]'])
    shown = client.inspect_image(made["Id"])
    assert shown["RepoTags"] == ["gwc/made:1"]
    assert shown["Parent"] == client.inspect_image(image)["Id"]
    assert "8000/tcp" in shown["Config"]["ExposedPorts"]
    again = run(client, "gwc/made:1", None)
    assert client.wait(again)["StatusCode"] == 0 and client.logs(again) == b"/made\n"
    client.remove_container(again)
    assert {"Deleted": made["Id"]} in client.remove_image("gwc/made:1")
