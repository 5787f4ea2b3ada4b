"""Images without a registry on three real hosts: carried to tasks, pushed to nodes, pulled once."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from swarm_world import create

from swarmlite.testing import Cluster, Host
from swarmlite.testing import images as debian_images
from swarmlite.testing.oci import BuiltImage, TarWriter, docker_archive, layer
from swarmlite.testing.registry import Registry

pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]
NOBODY = "127.0.0.1:9"
"""A registry that is not there, as each host knows at once: none has to be resolved."""
SLEEP = ("sh", "-c", "exec sleep 1000")


def made(name: str, *, layers: int = 3, layer_bytes: int = 200_000) -> BuiltImage:
    """busybox, and layers of noise that nobody has seen before."""
    image = debian_images.busybox().named(name)
    for number in range(layers):
        tar = TarWriter()
        tar.file(f"noise/{number}", os.urandom(layer_bytes))
        image = image.with_layer(layer(tar.tar()))
    return image


def load(host: Host, image: BuiltImage, folder: Path) -> None:
    path = folder / f"{image.name.replace('/', '-')}.tar"
    path.write_bytes(docker_archive([image]))
    host.cli("image", "load", "--input", str(path))


def names(host: Host) -> list[str]:
    return host.cli("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()


def kept(host: Host, image: BuiltImage) -> bool:
    """Whether the host has every blob as it was made."""
    folder = host.paths.images_dir / "blobs" / "sha256"
    return all((folder / one.digest.partition(":")[2]).exists() for one in image.layers)


def docker_api(host: Host, method: str, path: str, body: object) -> Any:
    connection = http.client.HTTPConnection("docker", timeout=60)
    with socket.socket(socket.AF_UNIX) as connected:
        connected.connect(str(host.paths.docker_socket))
        connection.sock = connected
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status < 300, text
        return json.loads(text)


@pytest.fixture
def clean(swarm: Cluster) -> Iterator[Cluster]:
    """The shared cluster, and afterwards no image that a test made."""
    before = {host.name: set(names(host)) for host in swarm.hosts}
    yield swarm
    for host in swarm.hosts:
        for name in set(names(host)) - before[host.name]:
            host.try_cli("image", "rm", "--force", name)


def test_a_service_of_an_image_that_only_one_host_has_runs_on_all(
    clean: Cluster, tmp_path: Path
) -> None:
    """`service create` pins it to this host's digest, and the others get it from here."""
    image = made("carried:1")
    load(clean.manager, image, tmp_path)
    create(clean, "--name", "carried", "--mode", "global", "carried:1", *SLEEP)
    clean.wait_running("carried", len(clean.hosts))
    assert all(kept(host, image) for host in clean.hosts)
    shown = clean.manager.cli("service", "inspect", "--format", "{{.Spec.TaskTemplate}}", "carried")
    assert "carried:1@sha256:" in shown


def test_stacks_and_dockers_api_carry_an_image_too(clean: Cluster, tmp_path: Path) -> None:
    """Of a client, as libraries are, that does not ask for the digest itself."""
    image = made("stacked:1")
    load(clean.manager, image, tmp_path)
    worker = "node.role == worker"
    deploy = {"mode": "global", "placement": {"constraints": [worker]}}
    service = {"image": "stacked:1", "command": list(SLEEP), "deploy": deploy}
    compose = tmp_path / "compose.yml"
    compose.write_text(json.dumps({"services": {"app": service}}))
    clean.manager.cli("stack", "deploy", "--detach", "-c", str(compose), "shop")
    clean.wait_running("shop_app", len(clean.workers))
    other = made("gateway:1")
    load(clean.manager, other, tmp_path)
    template = {
        "ContainerSpec": {"Image": "gateway:1", "Command": list(SLEEP)},
        "Placement": {"Constraints": [worker]},
    }
    asked = {"Name": "api", "TaskTemplate": template, "Mode": {"Global": {}}}
    assert docker_api(clean.manager, "POST", "/v1.44/services/create", asked)["ID"]
    clean.wait_running("api", len(clean.workers))
    assert all(kept(host, image) and kept(host, other) for host in clean.workers)


def test_push_nodes_puts_an_image_where_it_is_wanted_under_its_name(
    clean: Cluster, tmp_path: Path
) -> None:
    """Nodes that are not named do not get it; no names means all."""
    image = made("pushed:1")
    load(clean.manager, image, tmp_path)
    first, second = clean.workers
    out = clean.manager.cli("image", "push", "--nodes", first.name, "pushed:1")
    assert f"{first.name}: Complete" in out
    assert "pushed:1" in names(first) and "pushed:1" not in names(second)
    clean.manager.cli("push", "--quiet", "--nodes", "pushed:1")
    assert "pushed:1" in names(second) and kept(second, image)


def test_image_copy_brings_an_image_to_another_node(clean: Cluster, tmp_path: Path) -> None:
    """From this node under another name, back, and from an archive by way of this node."""
    image = made("copied:1")
    load(clean.manager, image, tmp_path)
    first, second = clean.workers
    clean.manager.cli("image", "copy", "-q", "node:copied:1", f"node={first.name}:renamed:2")
    assert "renamed:2" in names(first) and kept(first, image)
    clean.manager.cli("image", "rm", "copied:1")
    refused = clean.manager.try_cli("image", "copy", f"node={first.name}:a:1", "node:a:1")
    assert refused.returncode == 1 and f"node {first.name}: no such image: a:1" in refused.stderr
    back = ("image", "copy", "-q", f"node={first.name}:renamed:2", "node:back:1")
    clean.manager.cli(*back)
    assert {"back:1", "renamed:2"} <= set(names(clean.manager))
    other = tmp_path / "other.tar"
    (tmp_path / "copied:1.tar").rename(other)
    archive = f"docker-archive:{other}"
    clean.manager.cli("image", "copy", "-q", archive, f"node={second.name}:copied:3")
    assert "copied:3" in names(second) and kept(second, image)


def test_push_nodes_names_each_node_that_failed_and_why(clean: Cluster, tmp_path: Path) -> None:
    load(clean.manager, made("failing:1"), tmp_path)
    unknown = clean.manager.try_cli("image", "push", "--nodes", "nobody", "failing:1")
    assert unknown.returncode == 1 and "node nobody not found" in unknown.stderr
    absent = clean.manager.try_cli("image", "push", "--nodes", "absent:1")
    assert absent.returncode == 1 and "no such image: absent:1" in absent.stderr
    worker = clean.workers[0]
    load(worker, made("failing:1"), tmp_path)
    refused = worker.try_cli("image", "push", "--nodes", "failing:1")
    assert refused.returncode == 1 and "is not a swarm manager" in refused.stderr


def test_a_new_release_is_pulled_from_its_registry_once(clean: Cluster) -> None:
    """The first node asks the registry, the others the nodes before them."""
    image = made("release:1")
    assert clean.lan is not None
    with Registry(clean.lan.gateway, log_requests=True) as registry:
        name = f"{registry.address}/release:1"
        registry.push(image.named("release:1"))
        create(clean, "--name", "release", "--mode", "global", name, *SLEEP)
        clean.wait_running("release", len(clean.hosts))
        noise = image.layers[1:]  # the lowest is busybox's, which hosts may have
        asked = [len(registry.requests("GET", one.digest)) for one in noise]
    assert asked == [1] * len(noise)
    assert all(kept(host, image) for host in clean.hosts)


def test_a_restarted_manager_hears_again_who_has_an_image(clean: Cluster, tmp_path: Path) -> None:
    """What it knew of images was in its memory: every node tells its new session all it holds."""
    image = made("again:1")
    first, second = clean.workers[:2]
    load(clean.manager, image, tmp_path)
    clean.manager.cli("image", "push", "--quiet", "--nodes", first.name, "again:1")
    (digest,) = set(
        first.cli("image", "ls", "--digests", "--format", "{{.Digest}}", "again").split()
    )
    clean.manager.cli("image", "rm", "again:1")  # now it is the first worker's alone
    clean.manager.signal_process("manager", signal.SIGKILL)
    there = ("--constraint", f"node.hostname=={second.name}")
    create(clean, "--name", "again", *there, f"again:1@{digest}", *SLEEP)
    clean.wait_running("again", 1)
    assert kept(second, image)


def test_an_image_that_nobody_has_says_who_was_asked(clean: Cluster, tmp_path: Path) -> None:
    """The task's error names the nodes or that there are none, and the registry."""
    digest = "sha256:" + "0" * 64
    create(clean, "--name", "absent", f"{NOBODY}/app:1@{digest}", *SLEEP)

    def said() -> str:
        shown = clean.manager.cli("service", "ps", "--no-trunc", "--format", "{{.Error}}", "absent")
        return shown if "no other node has it" in shown else ""

    errors = clean.wait(said, 60, "an error that says who was asked")
    assert NOBODY in errors


def test_image_source_says_who_is_asked(clean: Cluster, tmp_path: Path) -> None:
    """With `registry` only, nodes leave each other in peace; nonsense is refused."""
    image = f"{NOBODY}/sourced:1"
    load(clean.manager, made(image), tmp_path)
    only = ("--constraint", "node.role==worker", "--image-source", "registry")
    create(clean, "--name", "sourced", *only, image, *SLEEP)

    def said() -> str:
        return clean.manager.cli(
            "service", "ps", "--no-trunc", "--format", "{{.Error}}", "sourced"
        ).strip()

    error = clean.wait(said, 60, "the registry's error")
    assert "node" not in error
    clean.manager.cli("service", "update", "--detach", "--image-source", "peer", "sourced")
    clean.wait_running("sourced", 1)
    wrong = clean.manager.try_cli("service", "update", "--image-source", "disk", "sourced")
    assert wrong.returncode == 125 and "unknown image source 'disk'" in wrong.stderr


def test_a_full_disk_of_the_receiver_is_named_and_leaves_nothing(
    clean: Cluster, tmp_path: Path
) -> None:
    image = made("large:1", layers=1, layer_bytes=12 << 20)
    load(clean.manager, image, tmp_path)
    worker = clean.workers[0]
    ingest = worker.paths.images_dir / "ingest"
    mounted = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(ingest)]
    pid = worker.node_pid("agent")
    enter = ["nsenter", "-t", str(pid), "-m", "--"]
    subprocess.run([*enter, *mounted], check=True, timeout=20)
    try:
        done = clean.manager.try_cli("image", "push", "--nodes", worker.name, "large:1")
        assert done.returncode == 1
        assert f"node {worker.name}: no space left on the disk" in done.stderr
        assert "large:1" not in names(worker)
    finally:
        subprocess.run([*enter, "umount", str(ingest)], check=True, timeout=20)
    clean.manager.cli("image", "push", "--nodes", worker.name, "large:1")
    assert kept(worker, image)
