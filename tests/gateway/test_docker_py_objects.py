"""docker-py in front of one host: its images, networks and volumes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker.errors import APIError, ImageLoadError, ImageNotFound, NotFound
from gateway_host import GatewayHost, gateway_host


@pytest.fixture(scope="module")
def node() -> Iterator[GatewayHost]:
    with gateway_host("gwo") as found:
        yield found


@pytest.fixture
def client(node: GatewayHost) -> Iterator[docker.DockerClient]:
    with_client = docker.DockerClient(base_url=node.url, timeout=60)
    yield with_client
    for network in with_client.networks.list(filters={"type": "custom"}):
        network.remove()
    for volume in with_client.volumes.list():
        volume.remove(force=True)
    with_client.close()


def at(node: GatewayHost, version: str) -> docker.APIClient:
    return docker.APIClient(base_url=node.url, version=version)


# images
def test_a_pull_is_lines_of_progress_and_the_image_is_there(
    node: GatewayHost, client: docker.DockerClient
) -> None:
    name = node.image("busybox")
    lines = list(client.api.pull(name, tag="latest", stream=True, decode=True))
    assert lines[0]["id"] == "latest" and lines[0]["status"].startswith("Pulling from")
    assert any(line.get("progressDetail") is not None and line.get("id") for line in lines[1:])
    assert lines[-2]["status"].startswith("Digest: sha256:")
    again = list(client.api.pull(name, tag="latest", stream=True, decode=True))
    assert again[-1]["status"] == f"Status: Image is up to date for {name}:latest"
    image = client.images.get(name)
    assert image.tags == [f"{name}:latest"]
    assert image.attrs["RepoDigests"] == [f"{name}@{lines[-2]['status'][8:]}"]
    assert image.attrs["Config"]["Cmd"] == ["sh"] and image.attrs["Os"] == "linux"
    pinned = client.images.pull(image.attrs["RepoDigests"][0])
    assert pinned.id == image.id


def test_what_cannot_be_pulled_has_the_status_of_its_error(
    node: GatewayHost, client: docker.DockerClient
) -> None:
    with pytest.raises(ImageNotFound):
        client.images.pull(node.image("busybox"), tag="absent")
    with pytest.raises(APIError) as caught:
        client.images.pull(node.image("busybox"), tag="latest", platform="foobar")
    assert caught.value.status_code == 400 and "invalid platform" in str(caught.value)
    with pytest.raises(APIError) as caught:
        client.images.pull("Upper/Case", tag="latest")
    assert caught.value.status_code == 400


def test_images_are_named_listed_filtered_and_removed(
    node: GatewayHost, client: docker.DockerClient
) -> None:
    image = client.images.pull(node.image("small"), tag="1")
    assert image.tag("test/other", "v1") is True
    found = client.images.list(filters={"reference": "test/*"})
    assert [one.id for one in found] == [image.id]
    assert client.images.list("test/other:v2") == []
    assert image.id not in [one.id for one in client.images.list(filters={"dangling": True})]
    with pytest.raises(APIError) as caught:
        client.images.remove(image.id)
    assert caught.value.status_code == 409
    assert client.api.remove_image("test/other:v1") == [{"Untagged": "test/other:v1"}]
    gone = client.api.remove_image(node.image("small:1"))
    assert {"Deleted": image.id} in gone
    with pytest.raises(ImageNotFound):
        client.images.get(node.image("small:1"))


def test_a_prune_of_all_unused_images_says_what_went(
    node: GatewayHost, client: docker.DockerClient
) -> None:
    image = client.images.pull(node.image("small"), tag="1")
    assert client.images.prune()["ImagesDeleted"] is None
    done = client.images.prune(filters={"dangling": False})
    assert {"Untagged": node.image("small:1")} in done["ImagesDeleted"]
    assert {"Deleted": image.id} in done["ImagesDeleted"] and done["SpaceReclaimed"] > 0


def test_an_archive_that_is_none_is_an_error_of_the_stream(client: docker.DockerClient) -> None:
    with pytest.raises(ImageLoadError):
        client.images.load(b"abc")


def test_an_image_is_saved_removed_and_loaded_again(
    node: GatewayHost, client: docker.DockerClient
) -> None:
    image = client.images.pull(node.image("small"), tag="1")
    data = b"".join(image.save(named=True))
    client.images.remove(image.id, force=True)
    lines = list(client.api.load_image(data))
    assert {"stream": f"Loaded image: {node.image('small:1')}\n"} in lines
    assert client.images.get(image.id).tags == [node.image("small:1")]
    with pytest.raises(ImageNotFound):
        b"".join(client.api.get_image("nothing:1"))


def test_a_tar_becomes_an_image_with_changes(client: docker.DockerClient) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    said = client.api.import_image_from_data(
        tar.getvalue(), repository="gwo/made", tag="1", changes=["USER app", 'CMD ["echo"]']
    )
    image = client.images.get("gwo/made:1")
    assert json.loads(said.splitlines()[-1]) == {"status": image.id}
    assert (image.attrs["Config"]["User"], image.attrs["Config"]["Cmd"]) == ("app", ["echo"])
    assert [step["Size"] for step in image.history()] == [3]
    image.remove(force=True)


def test_a_body_that_is_longer_than_what_is_buffered_comes_to_its_end(
    client: docker.DockerClient,
) -> None:
    """Its reading pauses and goes on again: the end is then known without any more bytes."""
    for size in (100_000, 128 * 1024, 300_000, 512 * 1024, 3_000_000):
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            member = tarfile.TarInfo("file")
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(size)))
        client.api.timeout = 60
        said = client.api.import_image_from_data(tar.getvalue(), repository="gwo/long")
        assert json.loads(said.splitlines()[-1])["status"].startswith("sha256:")
    client.images.remove("gwo/long", force=True)


def test_an_image_is_pushed_and_pulled_again(
    node: GatewayHost, client: docker.DockerClient
) -> None:
    image = client.images.pull(node.image("small"), tag="1")
    image.tag(node.image("pushed/there"), "v1")
    name = node.image("pushed/there")
    lines = [
        *client.images.push(name, tag="v1", stream=True, decode=True),
    ]
    assert lines[0]["status"] == f"The push refers to repository [{name}]"
    digest = lines[-1]["aux"]["Digest"]
    client.images.remove(image.id, force=True)
    assert client.images.pull(f"{name}@{digest}").id == image.id
    lines = list(client.images.push(node.image("absent"), tag="1", stream=True, decode=True))
    assert "errorDetail" in lines[-1]


def test_fields_of_an_image_come_and_go_with_the_version(
    node: GatewayHost, client: docker.DockerClient
) -> None:
    name = node.image("busybox:latest")
    client.images.pull(name)
    old, new = at(node, "1.43").inspect_image(name), at(node, "1.50").inspect_image(name)
    assert old["VirtualSize"] == old["Size"] and "ContainerConfig" in old
    assert not {"VirtualSize", "Container", "ContainerConfig"} & set(new)
    assert "Hostname" in old["Config"] and "Hostname" not in new["Config"]
    assert "VirtualSize" not in at(node, "1.44").images()[0]


def test_a_registry_is_asked_without_a_pull(node: GatewayHost, client: docker.DockerClient) -> None:
    found = client.api.inspect_distribution(node.image("small:1"))
    assert found["Descriptor"]["digest"].startswith("sha256:")
    assert {"os": "linux", "architecture": "amd64"} in found["Platforms"]
    with pytest.raises(NotFound):
        client.api.inspect_distribution(node.image("nothing:1"))


def test_what_is_not_there_says_so(client: docker.DockerClient) -> None:
    with pytest.raises(APIError) as caught:
        client.images.search("busybox")
    assert caught.value.status_code == 501 and "swarmlite" in caught.value.explanation
    assert client.api.prune_builds() == {"CachesDeleted": None, "SpaceReclaimed": 0}


# volumes
def test_a_volume_is_created_once_listed_filtered_and_removed(client: docker.DockerClient) -> None:
    made = client.api.create_volume("gwv1", labels={"a": "1"})
    assert client.api.create_volume("gwv1") == made == client.api.inspect_volume("gwv1")
    assert made["Driver"] == "local" and made["Labels"] == {"a": "1"} and made["Options"] is None
    client.volumes.create("gwv2")

    def names(**filters: Any) -> list[str]:
        return [volume.name for volume in client.volumes.list(filters=filters)]

    assert names(name="gwv") == ["gwv1", "gwv2"] and names(label="a=1") == ["gwv1"]
    assert names(name="none") == [] and names(dangling=True) == ["gwv1", "gwv2"]
    client.volumes.get("gwv1").remove()
    with pytest.raises(NotFound):
        client.volumes.get("gwv1")
    with pytest.raises(APIError) as caught:
        client.volumes.create("x", driver="no-such-driver")
    assert caught.value.status_code in (400, 404)


def test_a_prune_takes_anonymous_volumes_and_for_old_clients_named_ones_too(
    node: GatewayHost, client: docker.DockerClient
) -> None:
    anonymous = client.api.create_volume()["Name"]
    client.volumes.create("gwv3")
    assert client.api.prune_volumes()["VolumesDeleted"] == [anonymous]
    assert at(node, "1.41").prune_volumes()["VolumesDeleted"] == ["gwv3"]


# networks
def test_a_network_is_created_found_and_removed(client: docker.DockerClient) -> None:
    made = client.networks.create("gwn", labels={"a": "1"}, check_duplicate=True)
    for ref in (made.id, made.id[:10], "gwn"):
        assert client.networks.get(ref).id == made.id
    shown = made.attrs
    assert (shown["Driver"], shown["Scope"]) == ("bridge", "local")
    assert shown["Containers"] == {} and shown["IPAM"]["Config"][0]["Subnet"]
    assert not shown["Ingress"] and shown["Created"]
    with pytest.raises(APIError) as caught:
        client.networks.create("gwn")
    assert caught.value.status_code == 409
    with pytest.raises(NotFound):
        client.api.inspect_network("gwn", scope="swarm")
    made.remove()
    with pytest.raises(NotFound):
        client.networks.get("gwn")


def test_predefined_networks_are_not_made_and_not_removed(client: docker.DockerClient) -> None:
    for work in (
        lambda: client.api.remove_network("bridge"),
        lambda: client.networks.create("host"),
    ):
        with pytest.raises(APIError) as caught:
            work()
        assert caught.value.status_code == 403
    names = [network.name for network in client.networks.list(filters={"type": "builtin"})]
    assert sorted(names) == ["bridge", "host", "none"]


def test_a_network_s_name_may_hold_a_space(client: docker.DockerClient) -> None:
    made = client.networks.create("test 01")
    assert client.networks.get("test 01").id == made.id
    client.api.remove_network("test 01")


def test_a_pool_is_shown_as_it_was_asked_for(client: docker.DockerClient) -> None:
    pool = docker.types.IPAMPool(
        subnet="172.28.0.0/16",
        iprange="172.28.5.0/24",
        gateway="172.28.5.254",
        aux_addresses={"a": "172.28.1.5"},
    )
    made = client.networks.create("gwn", ipam=docker.types.IPAMConfig(pool_configs=[pool]))
    assert made.attrs["IPAM"]["Config"] == [
        {
            "Subnet": "172.28.0.0/16",
            "IPRange": "172.28.5.0/24",
            "Gateway": "172.28.5.254",
            "AuxiliaryAddresses": {"a": "172.28.1.5"},
        }
    ]


def test_an_overlay_outside_of_a_swarm_is_refused_in_docker_s_words(
    client: docker.DockerClient,
) -> None:
    with pytest.raises(APIError) as caught:
        client.networks.create("gwn", driver="overlay")
    assert caught.value.status_code == 503
    assert "This node is not a swarm manager" in caught.value.explanation


def test_networks_are_pruned_by_label(client: docker.DockerClient) -> None:
    client.networks.create("gwn1", labels={"keep": "1"})
    client.networks.create("gwn2")
    done = client.networks.prune(filters={"label!": ["keep"]})
    assert done == {"NetworksDeleted": ["gwn2"]}
    with pytest.raises(APIError, match="invalid filter"):
        client.networks.prune(filters={"colour": ["red"]})


def test_a_filter_that_is_broken_removes_nothing(
    node: GatewayHost, client: docker.DockerClient
) -> None:
    client.networks.create("gwn")
    answer = client.api._post(client.api._url("/networks/prune"), params={"filters": "{"})
    assert answer.status_code == 400
    assert json.loads(answer.content)["message"].startswith("invalid filter")
    assert client.networks.get("gwn")


def test_attestations_are_none_of_an_image_without_any(
    node: GatewayHost, client: docker.DockerClient
) -> None:
    client.images.pull(node.image("busybox"), tag="latest")
    api = at(node, "1.55")

    def asked(name: str, **query: Any) -> Any:
        return api._get(api._url("/images/{0}/attestations", name), params=query)

    image = client.images.get(node.image("busybox"))
    of_it = {"os": image.attrs["Os"], "architecture": image.attrs["Architecture"]}
    found = [asked(image.id), asked(node.image("busybox"), platform=json.dumps(of_it))]
    assert [(answer.status_code, answer.json()) for answer in found] == [(200, [])] * 2
    assert asked(image.id, platform=json.dumps({"os": "plan9"})).status_code == 404
    assert asked(image.id, platform="linux").status_code == 400
    assert asked(image.id, platform=["{}", "{}"]).status_code == 400
    assert asked("no-such-image").status_code == 404
    api.close()
