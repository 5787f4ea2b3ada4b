"""Files into and out of containers: what runs and what does not, and links that lead away."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
import pytest
from engine_host import SLEEP, EngineHost, until

from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import Mount

NOT_FOUND = grpc.StatusCode.NOT_FOUND
INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def copied_out(host: EngineHost, container: str, path: str) -> dict[str, bytes | str]:
    """The archive's members: contents of files, targets of links."""
    data = b""
    async for message in host.containers.CopyFrom(pb.PathRequest(ref=container, path=path)):
        data += message.data
    return members(data)


def members(data: bytes) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if member.isfile():
                content = archive.extractfile(member)
                assert content is not None
                found[member.name] = content.read()
            else:
                found[member.name] = member.linkname
    return found


def archive(*entries: tuple[str, Any]) -> bytes:
    """A tar of (name, content); a content that is a TarInfo stands for itself."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as made:
        for name, content in entries:
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                made.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.gid = len(content), 1234, 1234
            made.addfile(info, io.BytesIO(content))
    return target.getvalue()


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


async def copy_in(
    host: EngineHost, container: str, path: str, data: bytes, **options: bool
) -> None:
    def messages() -> Iterable[pb.CopyToRequest]:
        yield pb.CopyToRequest(to=pb.CopyToRequest.To(ref=container, path=path, **options))
        for start in range(0, len(data), 100_000):
            yield pb.CopyToRequest(data=data[start : start + 100_000])

    await host.containers.CopyTo(messages(), timeout=30)


async def test_files_go_in_and_out_of_what_runs_and_what_does_not(host: EngineHost) -> None:
    big = bytes(range(256)) * 4000
    stopped = await host.create(SLEEP)
    running = await host.run(SLEEP)
    for container in (stopped, running):
        await copy_in(host, container, "/tmp", archive(("a/b", b"inner"), ("big", big)))
        assert await copied_out(host, container, "/tmp/big") == {"big": big}
        assert await copied_out(host, container, "/tmp/a") == {"a": "", "a/b": b"inner"}
        stat = await host.call("StatPath", container, path="/tmp/big")
        assert (stat.name, stat.size_bytes) == ("big", len(big))
        await host.refused(host.call("StatPath", container, path="/no/such"), NOT_FOUND)
        missing = copy_in(host, container, "/no/such", archive(("x", b"")))
        await host.refused(missing, NOT_FOUND)
        onto = copy_in(
            host, container, "/", archive(("tmp", b"file")), no_overwrite_dir_non_dir=True
        )
        assert "cannot overwrite directory" in await host.refused(onto, INVALID)
        leads_out = copy_in(host, container, "/tmp", archive(("../../etc/x", b"")))
        await host.refused(leads_out, INVALID)
    await host.call("Start", stopped)
    for owners, expected in ((False, "0"), (True, "1234")):
        await copy_in(host, running, "/tmp", archive(("mine", b"")), copy_uid_gid=owners)
        owner = f"test $(stat -c %u /tmp/mine) = {expected}"
        assert await host.exec(running, "sh", "-c", owner) == 0


async def test_links_of_a_container_lead_nowhere_outside(host: EngineHost, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    away = f"ln -s {tmp_path} /away; ln -s {secret} /file; ln -s / /root; mkdir /d; echo ready;"
    running = await host.run(f"{away} {SLEEP}")

    async def ready() -> bool:
        return "ready" in host.output(running)

    await until(ready)
    stopped = await host.run(away)
    await host.wait(stopped)
    for container in (running, stopped):
        for path in ("/away/secret", "/root/../../../.." + str(secret)):
            await host.refused(host.call("StatPath", container, path=path), NOT_FOUND)
        stat = await host.call("StatPath", container, path="/file")
        assert stat.link_target == str(secret)
        assert await copied_out(host, container, "/file") == {"file": str(secret)}
        await host.refused(copy_in(host, container, "/away", archive(("x", b""))), NOT_FOUND)
        await copy_in(host, container, "/d", archive(("out", link(str(tmp_path))), ("ok", b"1")))
        through = archive(("out", link(str(tmp_path))), ("out/planted", b"bad"))
        try:
            await copy_in(host, container, "/d", through)
        except grpc.aio.AioRpcError as error:
            assert error.code() in (INVALID, NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)
        hard = archive(("hard", link(str(secret), tarfile.LNKTYPE)))
        await host.refused(copy_in(host, container, "/d", hard), NOT_FOUND)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name == "planted") == []
    assert secret.read_text() == "of the host"


async def test_volumes_are_found_while_their_container_does_not_run(host: EngineHost) -> None:
    mounts = [
        Mount(type=Mount.VOLUME, source="data", target="/data"),
        Mount(type=Mount.VOLUME, source="fixed", target="/fixed", readonly=True),
    ]
    container = await host.create("cat /data/f", spec=ContainerSpec(mounts=mounts))
    await copy_in(host, container, "/data", archive(("f", b"from outside")))
    await host.refused(
        copy_in(host, container, "/fixed", archive(("f", b""))),
        grpc.StatusCode.FAILED_PRECONDITION,
    )
    await host.call("Start", container)
    await host.wait(container)
    assert host.output(container) == "from outside"
    assert await copied_out(host, container, "/data/f") == {"f": b"from outside"}


async def test_what_differs_from_the_image_and_an_export_of_all(host: EngineHost) -> None:
    container = await host.run("mkdir /new; echo x > /new/file; rm /bin/vi; echo y >> /etc/passwd")
    await host.wait(container)
    found = (await host.containers.Changes(pb.ContainerRef(ref=container))).changes
    kinds = {change.path: pb.ChangesResponse.Kind.Name(change.kind) for change in found}
    assert kinds["/new"] == kinds["/new/file"] == "ADDED"
    assert kinds["/bin"] == kinds["/etc/passwd"] == "MODIFIED"
    assert kinds["/bin/vi"] == "DELETED"
    data = b""
    async for chunk in host.containers.Export(pb.ContainerRef(ref=container)):
        data += chunk.data
    exported = members(data)
    assert exported["new/file"] == b"x\n"
    assert "bin/vi" not in exported
    assert "bin/sh" in exported


@pytest.mark.parametrize("running", [True, False])
async def test_what_is_copied_in_belongs_to_the_containers_own_root(
    host: EngineHost, running: bool
) -> None:
    wait = "i=0; until [ -e /tmp/done ] || [ $i = 300 ]; do i=$((i+1)); sleep 0.1; done"
    spec = ContainerSpec(userns_mode="auto")
    container = await host.create(f"{wait}; stat -c %u:%g /tmp/f", spec=spec)
    files = archive(("f", b"x"), ("done", b""))
    try:
        if not running:
            await copy_in(host, container, "/tmp", files)
        await host.call("Start", container)
    except grpc.aio.AioRpcError as error:
        if "--userns=auto" in str(error.details()):
            pytest.skip(str(error.details()))
        raise
    if running:
        await copy_in(host, container, "/tmp", files)
    assert (await host.wait(container)).exit_code == 0, host.output(container)
    assert host.output(container).split() == ["0:0"]


async def test_what_is_taken_out_has_the_containers_own_ids(host: EngineHost) -> None:
    """Not those of the host's range, whether it runs or not; of cp as of export."""
    work = "mkdir /d; echo x > /d/f; chown 7:8 /d/f; touch /d/ready; "
    spec = ContainerSpec(userns_mode="auto")
    container = await host.create(work + SLEEP, spec=spec)
    try:
        await host.call("Start", container)
    except grpc.aio.AioRpcError as error:
        if "--userns=auto" in str(error.details()):
            pytest.skip(str(error.details()))
        raise

    async def ready() -> bool:
        return await host.exec(container, "test", "-e", "/d/ready") == 0

    await until(ready)
    expected = {"d": (0, 0), "d/f": (7, 8), "d/ready": (0, 0)}
    assert owners(await packed(host, container, "/d")) == expected
    image = {"sh": (0, 0)}
    assert owners(await packed(host, container, "/bin/sh")) == image
    await host.call("Stop", container)
    assert owners(await packed(host, container, "/d")) == expected
    assert owners(await packed(host, container, "/bin/sh")) == image
    data = b""
    async for chunk in host.containers.Export(pb.ContainerRef(ref=container)):
        data += chunk.data
    everything = owners(data)
    assert {name: everything[name] for name in expected} == expected
    assert set(everything.values()) == {(0, 0), (7, 8)}


async def packed(host: EngineHost, container: str, path: str) -> bytes:
    data = b""
    async for message in host.containers.CopyFrom(pb.PathRequest(ref=container, path=path)):
        data += message.data
    return data


def owners(data: bytes) -> dict[str, tuple[int, int]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: (member.uid, member.gid) for member in archive}


async def test_an_owner_outside_of_a_containers_ids_is_refused(host: EngineHost) -> None:
    """Its id on the host would be another container's."""
    spec = ContainerSpec(userns_mode="auto")
    try:
        container = await host.create("true", spec=spec)
    except grpc.aio.AioRpcError as error:
        if "--userns=auto" in str(error.details()):
            pytest.skip(str(error.details()))
        raise
    stranger = link("", tarfile.DIRTYPE)
    stranger.uid = 1 << 20
    copied = copy_in(host, container, "/tmp", archive(("far", stranger)), copy_uid_gid=True)
    assert "is not one of the container's" in await host.refused(copied, INVALID)
