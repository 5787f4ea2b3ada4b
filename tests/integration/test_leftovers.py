"""Clusters end with their process, however it ends, and the next one removes what is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmlite.testing import leftovers

pytestmark = [
    pytest.mark.machine,
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.geteuid() != 0, reason="a cluster of namespaces needs root"),
]

WAIT_S = 60.0
OWNER = """
import sys, time
import signal
from swarmlite.testing import Cluster
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
with Cluster(1, 0, name={name!r}, swarm=False) as cluster:
    print(cluster.root, cluster.manager.pid, flush=True)
    time.sleep(200)
"""


def traces(name: str, root: Path) -> list[str]:
    """Everything on the machine that names the cluster."""
    found = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/swarmlite-{name}")]
    found += [str(root)] if root.exists() else []
    mounts = Path("/proc/self/mountinfo").read_text()
    found += re.findall(rf"\S*swl-{name}\S*", mounts)
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True).stdout
    found += [line for line in links.splitlines() if f"sl-{name}"[:15] in line]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if (f"swl-{name}" in command or f"swarmlite-{name}" in command) and OWNER[
            :20
        ] not in command:
            found.append(command.replace("\0", " ")[:120])
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_cluster_ends_with_its_process(number: signal.Signals) -> None:
    name = f"x{os.getpid() % 100000}{number.value}"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(name=name)], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert owner.stdout is not None
    with owner.stdout as lines:
        root, pid = lines.readline().split()
    owner.send_signal(number)
    owner.wait(WAIT_S)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the host")
    if number == signal.SIGKILL:
        # Nobody was left to remove the disks: the next cluster does, which may be one that
        # another run of tests makes at this moment.
        leftovers.sweep()
    # The kernel takes a namespace's links away a while after its last process.
    until(lambda: traces(name, Path(root)) == [], lambda: traces(name, Path(root)))


def until(condition: Callable[[], bool], what: str | Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(0.05)


def test_what_a_living_process_owns_is_left_alone(tmp_path: Path) -> None:
    leftovers.claim(tmp_path, "/swarmlite-nobody")
    assert tmp_path not in leftovers.sweep()
    assert (tmp_path / leftovers.OWNER).exists()
