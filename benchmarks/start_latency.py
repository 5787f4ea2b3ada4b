"""One container, from the request to the exit of `true`: the supervisor, crun, and docker run."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from swarmlite.runtime.client import Supervisor
from swarmlite.runtime.command import __main__ as runtime_command
from swarmlite.runtime.oci import defaults
from swarmlite.runtime.supervisor import __file__ as supervisor_package
from swarmlite.testing import cgroup_sweep
from swarmlite.testing.namespaces import Machine

from .docker_peer import DockerPeer
from .table import Row, median, percentile, ratio_row, watched_row

ROUNDS = 60
DOCKER_ROUNDS = 10
CGROUP_PARENT = "/swarmlite-bench-start"


def rootfs(folder: Path) -> Path:
    """A busybox root file system."""
    binaries = folder / "bin"
    binaries.mkdir(parents=True)
    shutil.copy("/bin/busybox", binaries)
    for name in ("sh", "true", "sleep"):
        (binaries / name).symlink_to("busybox")
    for name in ("proc", "sys", "dev", "etc", "tmp"):
        (folder / name).mkdir()
    return folder


def spec(args: list[str], name: str, root: Path) -> dict[str, Any]:
    """The default profile, with a memory and a pids limit."""
    made = defaults.default_spec()
    made["root"]["path"] = str(root)
    made["process"]["args"] = args
    made["linux"]["cgroupsPath"] = f"{CGROUP_PARENT}/{name}"
    made["linux"]["resources"]["memory"] = {"limit": 256 << 20}
    made["linux"]["resources"]["pids"] = {"limit": 512}
    return made


def ours(folder: Path, lower: Path) -> list[float]:
    """Seconds of each round through a supervisor on a machine of its own; overlay included."""
    machine = Machine("bench")
    socket_path = folder / "supervisor.sock"
    main = Path(supervisor_package).with_name("__main__.py")
    options = ["--socket", str(socket_path), "--state-dir", str(folder / "supervisor")]
    process = subprocess.Popen(machine.enter([sys.executable, "-I", "-S", str(main), *options]))
    try:
        deadline = time.monotonic() + 10
        while not socket_path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return asyncio.run(_rounds(socket_path, folder, lower))[5:]
    finally:
        machine.kill()
        process.kill()
        process.wait()


async def _rounds(socket_path: Path, folder: Path, lower: Path) -> list[float]:
    supervisor = await Supervisor.connect(socket_path)
    samples = [await _round(supervisor, folder, lower, k) for k in range(ROUNDS + 5)]
    await supervisor.close()
    return samples


async def _round(supervisor: Supervisor, folder: Path, lower: Path, number: int) -> float:
    name = f"c{number}"
    bundle = folder / name
    started = time.perf_counter()
    for part in ("rootfs", "upper", "work"):
        (bundle / part).mkdir(parents=True)
    config = spec(["/bin/true"], name, Path("rootfs"))
    config["annotations"]["swarmlite.overlay"] = (
        f"lowerdir={lower},upperdir={bundle}/upper,workdir={bundle}/work"
    )
    (bundle / "config.json").write_text(json.dumps(config))
    await supervisor.create(name, bundle, start=True)
    state = await supervisor.wait(name)
    elapsed = time.perf_counter() - started
    assert state.exit_code == 0, state
    await supervisor.delete(name)
    return elapsed


def by_command(name: str, runtime: list[str], folder: Path, root: Path) -> list[float]:
    """Seconds of each `RUNTIME run` of the same profile, on a root file system that is mounted."""
    machine = Machine(f"bench-{name}")
    try:
        # crun refuses hybrid cgroups: it sees only the version 1 hierarchies, and makes folders
        # where the other would be.
        hide = ["mount", "-t", "tmpfs", "none", "/sys/fs/cgroup/unified"]
        subprocess.run(machine.enter(hide), capture_output=True)
        samples = []
        for number in range(ROUNDS + 5):
            bundle = folder / f"{name}{number}"
            bundle.mkdir()
            config = defaults.portable(spec(["/bin/true"], f"{name}{number}", root))
            (bundle / "config.json").write_text(json.dumps(config))
            command = machine.enter(
                [*runtime, f"--root={folder}/{name}-root", "run", f"--bundle={bundle}",
                 f"c{number}"]
            )  # fmt: skip
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            samples.append(time.perf_counter() - started)
        return samples[5:]
    finally:
        machine.kill()


def nsenter_cost() -> float:
    """What entering the machine costs each crun, to take off."""
    machine = Machine("bench-nsenter")
    try:
        samples = []
        for _ in range(30):
            started = time.perf_counter()
            subprocess.run(machine.enter(["/bin/true"]), check=True)
            samples.append(time.perf_counter() - started)
        return median(samples)
    finally:
        machine.kill()


def measure(docker: DockerPeer, image: str) -> list[Row]:
    """Ours against crun and against `docker run --rm`."""
    folder = Path(tempfile.mkdtemp(prefix="swl-bench-"))
    try:
        root = rootfs(folder / "root")
        mine = ours(folder, root)
        entering = nsenter_cost()
        peer = [seconds - entering for seconds in by_command("crun", ["crun"], folder, root)]
        command = [sys.executable, "-I", "-S", runtime_command.__file__]
        words = [seconds - entering for seconds in by_command("swl", command, folder, root)]
        docker_runs = []
        for _ in range(DOCKER_ROUNDS):
            started = time.perf_counter()
            docker.cli("run", "--rm", "--network", "none", image, "true")
            docker_runs.append(time.perf_counter() - started)
    finally:
        cgroup_sweep.remove(CGROUP_PARENT)
        shutil.rmtree(folder, ignore_errors=True)
    millis = 1e3
    return [
        ratio_row("start to exit of `true`, median, against crun", "ms",
                  median(mine) * millis, median(peer) * millis, at_most=0.4),
        ratio_row("start to exit of `true`, median, against docker run", "ms",
                  median(mine) * millis, median(docker_runs) * millis, at_most=0.05),
        # 45 ms where crun takes 22: most of it is two starts of the interpreter.
        ratio_row("`swarmlite-runtime run` of `true`, median, against crun", "ms",
                  median(words) * millis, median(peer) * millis, at_most=2.05),
        # One in sixty is the slowest of all: a figure to watch, too noisy for a goal.
        watched_row("start to exit of `true`, p99, against crun", "ms",
                    percentile(mine, 0.99) * millis, percentile(peer, 0.99) * millis),
    ]  # fmt: skip
