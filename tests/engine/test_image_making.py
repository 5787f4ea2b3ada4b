"""commit, import, history, save, push and login through the engine's socket."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from engine_host import SLEEP, TIMEOUT_S, EngineHost

from swarmlite.proto import containers_pb2 as containers_pb
from swarmlite.proto import images_pb2 as pb
from swarmlite.proto.containers_pb2 import ContainerState
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.storage.images.auth import RegistryAuth
from swarmlite.testing.oci import TarWriter
from swarmlite.testing.registry import Registry

INVALID = grpc.StatusCode.INVALID_ARGUMENT
DENIED = grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND = grpc.StatusCode.NOT_FOUND


async def config_of(host: EngineHost, ref: str) -> dict[str, Any]:
    found = await host.node.engine.images.Inspect(GetRequest(ref=ref))
    config: dict[str, Any] = json.loads(found.config_json)
    return config


async def test_a_container_is_committed_and_what_it_changed_runs(host: EngineHost) -> None:
    images = host.node.engine.images
    spec = ContainerSpec(env=["COLOUR=red"], labels={"team": "a"})
    container = await host.run(f"echo changed > /etc/made; rm /etc/passwd; {SLEEP}", spec=spec)
    await host.exec(container, "sh", "-c", "until [ -e /etc/made ]; do sleep 0.05; done")
    made = await images.Commit(
        pb.CommitRequest(
            container=container,
            reference="made:1",
            message="a step",
            author="me",
            changes=['CMD ["cat", "/etc/made"]', "ENV SHADE=$COLOUR-ish", "EXPOSE 80"],
        ),
        timeout=TIMEOUT_S,
    )
    inner = (await config_of(host, "made:1"))["config"]
    assert inner["Cmd"] == ["cat", "/etc/made"] and "SHADE=red-ish" in inner["Env"]
    assert inner["Labels"] == {"team": "a"} and inner["ExposedPorts"] == {"80/tcp": {}}
    history = await images.History(GetRequest(ref=made.id))
    newest = history.steps[0]
    assert (newest.id, newest.comment, list(newest.tags)) == (made.id, "a step", ["made:1"])
    assert newest.size_bytes > 0 and newest.created_by == "cat /etc/made"
    assert (await host.inspect(container)).state.status == 2  # it runs on
    cat = ContainerSpec(image="made:1", command=["sh"], args=["-c", "cat /etc/made; ls /etc"])
    other = await host.create(spec=cat)
    await host.call("Start", other)
    await host.wait(other)
    said = host.output(other)
    assert said.startswith("changed\n") and "passwd" not in said.split()


async def test_a_container_that_ends_while_it_is_committed_is_no_error(host: EngineHost) -> None:
    """Its end is with the supervisor, which is as slow as it can be: it stands still."""
    images, node = host.node.engine.images, host.node
    number = f"98764{os.getpid()}"  # other runs may be on this machine
    spec = ContainerSpec(image=host.image, command=["sleep", number])
    request = containers_pb.CreateContainerRequest(config=containers_pb.ContainerConfig(spec=spec))
    container = (await host.containers.Create(request, timeout=TIMEOUT_S)).id
    await host.call("Start", container)
    (process,) = processes_of(number)

    async def commit() -> pb.Image:
        return await images.Commit(pb.CommitRequest(container=container), timeout=TIMEOUT_S)

    async def begun() -> None:
        """What was asked for before is: later questions are answered."""
        for _ in range(5):
            assert (await host.inspect(container)).state.status == ContainerState.RUNNING

    node.send_signal("supervisor", signal.SIGSTOP)
    try:
        # It has the container's lock, so that the commit comes next and the end's record after it.
        changes = containers_pb.ContainerResources(memory_bytes=64 << 20)
        changing = asyncio.ensure_future(host.call("Update", container, resources=changes))
        await begun()
        os.kill(process, signal.SIGKILL)
        while b"State:\tZ" not in Path(f"/proc/{process}/status").read_bytes():
            await asyncio.sleep(0.01)
        made = asyncio.ensure_future(commit())
        await begun()
    finally:
        node.send_signal("supervisor", signal.SIGCONT)
    await asyncio.wait((changing,))
    await images.Remove(pb.RemoveImageRequest(ref=(await made).id, force=True))
    await host.wait(container)
    await host.call("Remove", container)


def processes_of(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and word.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


async def test_bad_changes_and_containers_are_refused(host: EngineHost) -> None:
    images = host.node.engine.images
    container = await host.create("true")
    for change, message in (
        ("RUN x", "'RUN' cannot change an image"),
        ("EXPOSE 99999", "EXPOSE 99999: '99999' is not a port"),
        ("ENV x", "expected NAME=VALUE"),
        ("STOPSIGNAL NONE", "STOPSIGNAL NONE"),
    ):
        request = pb.CommitRequest(container=container, changes=[change])
        assert message in await host.refused(images.Commit(request), INVALID)
    request = pb.CommitRequest(container=container, reference="Bad")
    await host.refused(images.Commit(request), INVALID)
    await host.refused(images.Commit(pb.CommitRequest(container="none")), NOT_FOUND)


async def test_a_tar_is_imported_and_run(host: EngineHost) -> None:
    images = host.node.engine.images
    container = await host.create("true")
    tar = TarWriter()
    tar.file("data", "imported")

    async def requests(data: bytes) -> AsyncIterator[pb.ImportImageRequest]:
        options = pb.ImportOptions(reference="imported:1", message="from a tar")
        options.changes.append('ENTRYPOINT ["/bin/x"]')
        yield pb.ImportImageRequest(options=options)
        for start in range(0, len(data), 1000):
            yield pb.ImportImageRequest(chunk=data[start : start + 1000])

    made = await images.Import(requests(tar.tar()), timeout=TIMEOUT_S)
    config = await config_of(host, "imported:1")
    assert config["config"] == {"Entrypoint": ["/bin/x"]}
    assert config["history"][0]["comment"] == "from a tar"
    assert made.id == (await images.Inspect(GetRequest(ref="imported:1"))).image.id
    await host.refused(images.Import(requests(b"nonsense" * 100)), INVALID)
    assert container


async def test_images_are_saved_pushed_and_logged_in_for(host: EngineHost) -> None:
    images = host.node.engine.images
    chunks = [chunk.data async for chunk in images.Save(pb.SaveImagesRequest(refs=[host.image]))]
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        assert "manifest.json" in archive.getnames()
    with Registry(host="127.0.0.1", users={"me": "secret"}) as guarded:
        # the host's namespace has a loopback of its own: nobody listens there
        auth = RegistryAuth("me", "secret", server_address=guarded.address).to_base64()
        await host.refused(
            images.Login(pb.LoginRequest(registry_auth=auth)), grpc.StatusCode.UNAVAILABLE
        )
    await host.refused(images.Login(pb.LoginRequest()), INVALID)
