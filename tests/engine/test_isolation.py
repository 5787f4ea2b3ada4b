"""What a container shares and what it may do, seen from inside of real ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from engine_host import SLEEP, EngineHost

from swarmlite.engine import id_ranges
from swarmlite.errors import InvalidSpec, ResourceExhausted
from swarmlite.proto.containers_pb2 import Container, ContainerResources
from swarmlite.proto.images_pb2 import LoadImageRequest
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount, Platform, Privileges
from swarmlite.testing.oci import BuiltImage, TarWriter, docker_archive, layer

FAILED = grpc.StatusCode.FAILED_PRECONDITION


async def said(host: EngineHost, *args: str, **fields: Any) -> str:
    """The output of a container that ends well."""
    container = await host.run(*args, **fields)
    assert (await host.wait(container)).exit_code == 0, host.output(container)
    return host.output(container)


async def test_namespaces_of_another_container_are_joined(host: EngineHost) -> None:
    shares = ContainerSpec(ipc_mode="shareable", shm_size_bytes=8 << 20)
    first = await host.run(f"echo shared > /dev/shm/f; {SLEEP}", name="first", spec=shares)
    joins = ContainerSpec(ipc_mode="container:first", pid_mode="container:first")
    text = await said(host, "cat /dev/shm/f; ps -o pid,args | grep -c 'sleep 0.1'", spec=joins)
    assert text.startswith("shared\n")
    private = await host.run(SLEEP, name="private")
    refused = await host.create("true", spec=ContainerSpec(ipc_mode="container:private"))
    assert "IPC mode is not shareable" in await host.refused(host.call("Start", refused), FAILED)
    await host.call("Stop", first)
    gone = await host.create("true", spec=joins)
    assert "non running container" in await host.refused(host.call("Start", gone), FAILED)
    await host.call("Remove", first)
    assert not list((host.node.paths.run_dir / "shm").iterdir())
    await host.call("Remove", private, force=True)


async def test_namespaces_of_the_host(host: EngineHost) -> None:
    spec = ContainerSpec(uts_mode="host", pid_mode="host", ipc_mode="host", cgroupns_mode="host")
    text = await said(host, "hostname; ps -o args | grep -c swarmlite.agent", spec=spec)
    assert host.node.run("hostname").stdout.strip() in text


async def test_what_privileged_and_devices_give(host: EngineHost) -> None:
    probe = "grep CapEff /proc/self/status; mount -t tmpfs none /tmp && echo mounted; ls /dev"
    free = await said(host, probe, spec=ContainerSpec(privileged=True))
    assert "mounted" in free
    confined = await said(host, f"{probe} || true")
    assert "mounted" not in confined
    spec = ContainerSpec(devices=["/dev/null:/dev/nothing"])
    resources = ContainerResources(device_cgroup_rules=["c 42:* rwm"])
    shown = await said(host, "ls -l /dev/nothing", spec=spec, resources=resources)
    assert shown.startswith("c")
    assert shown.split()[4:6] == ["1,", "3"]


async def test_a_seccomp_profile_of_ones_own_is_applied(host: EngineHost) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    }
    spec = ContainerSpec()
    spec.privileges.seccomp.mode = Privileges.SeccompOpts.CUSTOM
    spec.privileges.seccomp.profile = json.dumps(profile).encode()
    text = await said(host, "mkdir /d 2>&1 || true; touch /f && echo made", spec=spec)
    assert "Operation not permitted" in text
    assert "made" in text


async def test_a_user_is_in_its_own_group_and_in_those_added(host: EngineHost) -> None:
    """A file that denies its group denies whoever has it as the primary one (CVE-2022-36109)."""
    text = await said(host, "id -G", spec=ContainerSpec(user="nobody", groups=["55"]))
    assert text.split() == ["65534", "55"]
    container = await host.run(SLEEP, spec=ContainerSpec(groups=["55"]))
    checked = "test \"$(id -G)\" = '65534 55'"
    assert await host.exec(container, "sh", "-c", checked, user="nobody") == 0
    unknown = host.exec(container, "true", user="nouser")
    assert "unable to find user nouser" in await host.refused(unknown, FAILED)
    create = host.run("true", spec=ContainerSpec(user="nouser"))
    assert (await host.refused(create, FAILED)).startswith("unable to find user nouser")


async def test_an_image_of_another_platform_is_not_found(host: EngineHost) -> None:
    """So that whoever creates pulls it; nothing runs on the wrong one in silence."""
    other = Platform(os="linux", architecture="s390x")
    create = host.create("true", platform=other)
    said_ = await host.refused(create, grpc.StatusCode.NOT_FOUND)
    assert "does not match the specified platform (linux/s390x)" in said_


async def test_an_image_is_mounted_to_look_at(host: EngineHost) -> None:
    mount = Mount(type=Mount.IMAGE, source=host.image, target="/image")
    text = await said(
        host, "ls /image/bin/sh; touch /image/x 2>&1 || true", spec=ContainerSpec(mounts=[mount])
    )
    assert "/image/bin/sh" in text
    assert "Read-only file system" in text


async def test_a_part_of_an_image_of_many_layers_is_mounted(host: EngineHost) -> None:
    """More layers than an option of fsconfig has room for; no link leads out of the image."""
    await load(host, deep_image(24))
    mounts = [
        Mount(type=Mount.IMAGE, source="deep:1", target="/all"),
        Mount(type=Mount.IMAGE, source="deep:1", target="/part", image_options={"subpath": "d/7"}),
        Mount(type=Mount.IMAGE, source="deep:1", target="/f", image_options={"subpath": "d/9/f"}),
    ]
    script = "ls /all/d | wc -l; cat /part/f /f; touch /part/x 2>&1; cat /proc/self/mountinfo"
    text = await said(host, script, spec=ContainerSpec(mounts=mounts))
    assert text.split()[:3] == ["24", "7", "9"]
    assert "Read-only file system" in text
    for subpath, why in (("nowhere", "nowhere is not in what is mounted"), ("out", "out is not")):
        mount = Mount(
            type=Mount.IMAGE, source="deep:1", target="/part", image_options={"subpath": subpath}
        )
        container = await host.create("true", spec=ContainerSpec(mounts=[mount]))
        assert why in await host.refused(host.call("Start", container), FAILED)


def deep_image(count: int) -> BuiltImage:
    layers = []
    for number in range(count):
        writer = TarWriter()
        writer.file(f"d/{number}/f", f"{number}\n")
        layers.append(layer(writer.tar()))
    writer = TarWriter()
    writer.symlink("out", "/etc/hostname-of-the-host")
    return BuiltImage("deep:1", (*layers, layer(writer.tar())))


async def load(host: EngineHost, image: BuiltImage) -> None:
    data = docker_archive([image])

    def chunks() -> Iterator[LoadImageRequest]:
        for start in range(0, len(data), 100_000):
            yield LoadImageRequest(chunk=data[start : start + 100_000])

    async for _ in host.node.engine.images.Load(chunks()):
        pass


async def test_hosts_and_a_name_for_the_gateway(host: EngineHost) -> None:
    spec = ContainerSpec(hosts=["1.2.3.4 there", "host-gateway outside"], hostname="me")
    text = await said(host, "cat /etc/hosts; ip route", spec=spec)
    gateway = text.partition("default via ")[2].split()[0]
    assert "1.2.3.4\tthere" in text
    assert f"{gateway}\toutside" in text


async def test_volumes_of_another_container(host: EngineHost) -> None:
    mounts = [Mount(type=Mount.VOLUME, target="/data")]
    first = await host.run("echo from first > /data/f", spec=ContainerSpec(mounts=mounts))
    await host.wait(first)
    text = await said(
        host, "cat /data/f; touch /data/x 2>&1 || true", volumes_from=[f"{first[:12]}:ro"]
    )
    assert "from first" in text
    assert "Read-only file system" in text
    await host.call("Remove", first, volumes=True)  # another has it: it stays
    assert [p for p in host.node.paths.volumes_dir.iterdir() if not p.name.startswith(".")]


async def test_ids_of_a_containers_own(host: EngineHost) -> None:
    spec = ContainerSpec(
        userns_mode="auto", mounts=[Mount(type=Mount.VOLUME, source="v1", target="/v")]
    )
    container = await host.create(
        "id -u; cat /proc/self/uid_map; touch /v/f /g; stat -c %u /v/f /g /bin/sh", spec=spec
    )
    try:
        await host.call("Start", container)
    except grpc.aio.AioRpcError as error:
        if "--userns=auto" in str(error.details()):
            pytest.skip(str(error.details()))
        raise
    assert (await host.wait(container)).exit_code == 0, host.output(container)
    lines = host.output(container).split()
    assert lines[0] == "0"
    assert lines[1:4] == ["0", str(id_ranges.FIRST), str(id_ranges.DEFAULT_COUNT)]
    assert lines[4:] == ["0", "0", "0"]
    other = await host.create("true", spec=ContainerSpec(userns_mode="auto:size=2048"))
    wrong = host.create("true", spec=ContainerSpec(userns_mode="auto:size=3"))
    await host.refused(wrong, grpc.StatusCode.INVALID_ARGUMENT)
    await host.call("Remove", other)


def test_ranges_of_ids_do_not_overlap() -> None:
    first = Container(first_id=id_ranges.FIRST, id_count=2048)
    third = Container(first_id=id_ranges.FIRST + 4096, id_count=2048)
    assert id_ranges.choose(2048, [third, first]) == id_ranges.FIRST + 2048
    assert id_ranges.choose(4096, [third, first]) == id_ranges.FIRST + 6144
    with pytest.raises(ResourceExhausted):
        id_ranges.choose(1 << 30, [first])
    for mode in ("auto:", "auto:size=", "auto:size=x", "auto:size=1", "auto:uidmapping=1"):
        with pytest.raises(InvalidSpec):
            id_ranges.count_of(mode)


async def test_without_ipc_there_is_no_place_for_shared_memory(host: EngineHost) -> None:
    """As in Docker: an empty /dev/shm on the tmpfs of /dev would seem to work."""
    look = "[ -e /dev/shm ] && echo there || echo none"
    assert await said(host, look, spec=ContainerSpec(ipc_mode="none")) == "none\n"
    assert await said(host, look) == "there\n"
