"""The harness: a supervisor, a busybox root, containers by one call; all cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from swarmlite.runtime import logs
from swarmlite.runtime.cgroups import base
from swarmlite.runtime.client import LogFile, State, Supervisor
from swarmlite.runtime.oci.defaults import default_spec
from swarmlite.runtime.supervisor import __main__ as program

PARENT = f"/swarmlite-rt-test-{os.getpid()}"


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only lower directory: busybox with its links, passwd, group, no mount points."""
    root = tmp_path_factory.mktemp("busybox")
    for name in ("bin", "etc", "tmp", "data"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/busybox").chmod(0o755)
    listed = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True)
    for applet in listed.stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nredis:x:999:998::/data:/bin/sh\n4242:x:77:77::/:/bin/sh\n"
    )
    (root / "etc/group").write_text("root:x:0:\nredis:x:998:\naudio:x:29:redis\nvideo:x:44:root\n")
    return root


def start_supervisor(socket: Path, state_dir: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", program.__file__, "--socket", str(socket),
         "--state-dir", str(state_dir)],
    )  # fmt: skip


async def connect(socket: Path) -> Supervisor:
    for _ in range(500):
        with contextlib.suppress(Exception):
            return await Supervisor.connect(socket)
        await asyncio.sleep(0.01)
    raise AssertionError("the supervisor did not come up")


@pytest.fixture(scope="session")
def supervisor_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One supervisor for the session, at `s.sock` in the directory; ended and swept at the end."""
    directory = tmp_path_factory.mktemp("sv")
    process = start_supervisor(directory / "s.sock", directory / "state")
    (directory / "pid").write_text(str(process.pid))
    try:
        yield directory
    finally:
        process.terminate()  # kills and removes what tests left
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        sweep()


@pytest.fixture(scope="session", autouse=True)
def swept() -> Iterator[None]:
    """Nothing of these tests stays in any hierarchy, also of those that other runtimes use."""
    yield
    sweep()


def sweep() -> None:
    """Kill and remove whatever is still below our cgroup parent."""
    top = Path("/sys/fs/cgroup")
    for root in (top, *(path for path in top.iterdir() if path.is_dir())):
        for ours in root.glob(f"{PARENT.strip('/')}*"):
            for procs in ours.glob("**/cgroup.procs"):
                for pid in base.read_pids(str(procs)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)
            base.remove(str(ours))


@pytest_asyncio.fixture
async def supervisor(supervisor_dir: Path) -> AsyncIterator[Supervisor]:
    client = await connect(supervisor_dir / "s.sock")
    yield client
    await client.close()


class Containers:
    """Makes bundles and runs them: `await run("sh", "-c", ...)` gives state and output."""

    def __init__(self, supervisor: Supervisor, directory: Path, lower: Path) -> None:
        self.supervisor, self.directory, self.lower = supervisor, directory, lower
        self.ids: list[str] = []

    def bundle(
        self, *args: str, change: Callable[[dict[str, Any]], None] | None = None,
        lower: Path | None = None,
    ) -> tuple[str, Path]:  # fmt: skip
        container_id = f"c{os.urandom(6).hex()}"
        bundle = self.directory / container_id
        for name in ("rootfs", "upper", "work"):
            (bundle / name).mkdir(parents=True)
        (bundle / "upper").chmod(0o755)
        spec = default_spec()
        spec["process"]["args"] = list(args)
        spec["hostname"] = container_id
        spec["linux"]["cgroupsPath"] = f"{PARENT}/{container_id}"
        layers = f"{lower}:{self.lower}" if lower else f"{self.lower}"
        spec["annotations"]["swarmlite.overlay"] = (
            f"lowerdir={layers},upperdir={bundle}/upper,workdir={bundle}/work"
        )
        if change is not None:
            change(spec)
        (bundle / "config.json").write_text(json.dumps(spec))
        return container_id, bundle

    async def create(self, *args: str, log: dict[str, Any] | None = None, **options: Any) -> str:
        container_id, bundle = self.bundle(*args, **options)
        self.ids.append(container_id)
        await self.supervisor.create(
            container_id, bundle, log=LogFile(bundle / "log", **(log or {}))
        )
        return container_id

    async def start(self, *args: str, **options: Any) -> str:
        container_id = await self.create(*args, **options)
        await self.supervisor.start(container_id)
        return container_id

    async def run(self, *args: str, **options: Any) -> tuple[State, str]:
        container_id = await self.start(*args, **options)
        state = await asyncio.wait_for(self.supervisor.wait(container_id), 30)
        return state, await self.output(container_id)

    async def output(self, container_id: str) -> str:
        path = self.directory / container_id / "log"
        return b"".join([line.data async for line in logs.read(path)]).decode()

    async def exec(
        self, container_id: str, *args: str, start_timeout_s: float = 30.0, **process: Any
    ) -> tuple[int, str]:
        reader, writer = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            spec = {"args": list(args), "env": ["PATH=/bin"], "cwd": "/", **process}
            running = await self.supervisor.exec(
                container_id, spec, stdin=null, stdout=writer, stderr=writer,
                start_timeout_s=start_timeout_s,
            )  # fmt: skip
            code = await running.wait()
        finally:
            os.close(writer)
            os.close(null)
            with os.fdopen(reader, "rb") as file:
                output = file.read().decode()
        return code, output


@pytest_asyncio.fixture
async def containers(
    supervisor: Supervisor, tmp_path: Path, busybox_root: Path
) -> AsyncIterator[Containers]:
    made = Containers(supervisor, tmp_path, busybox_root)
    yield made
    for container_id in made.ids:
        with contextlib.suppress(Exception):
            await supervisor.delete(container_id, force=True)
