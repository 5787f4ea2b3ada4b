"""`swarmlite top` of a real cluster: what tasks of every node use, their logs, and a shell."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest
from swarm_world import create, remove_everything

from swarmlite.cli.session import Session
from swarmlite.testing import Cluster

pytest.importorskip("textual", reason="the extra `top` is not installed")
pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]


@pytest.fixture(scope="module")
def there(shared_cluster: Cluster, busybox: str) -> Iterator[Cluster]:
    """A service `far` with a task on each worker."""
    create(
        shared_cluster,
        *("--name", "far", "--replicas", "2", "--replicas-max-per-node", "1"),
        *("--limit-memory", "64m", "--constraint", "node.role==worker"),
        *(busybox, "sh", "-c", "echo started; exec sleep 1000"),
    )
    shared_cluster.wait_running("far", 2)
    yield shared_cluster
    with shared_cluster.control() as control:
        remove_everything(shared_cluster, control)


async def test_what_tasks_of_every_node_use_is_shown_live(there: Cluster) -> None:
    from dashboard_pilot import Watched

    from swarmlite.cli.dashboard.screen import Dashboard

    app = Dashboard(Session(there.manager.paths), lambda task: None)
    async with app.run_test(size=(200, 40)) as pilot:
        seen = Watched(app, pilot)
        await seen.until(lambda: seen.column("services", 2) == ["2/2 (max 1 per node)"])
        await seen.until(lambda: sorted(seen.column("tasks", 0)) == ["far.1", "far.2"])

        def known() -> bool:
            memory, received = seen.column("tasks", 4), seen.column("tasks", 5)
            return all("B / 64MiB" in cell for cell in memory) and "--" not in received

        await seen.until(known)
        nodes = dict(zip(seen.column("nodes", 0), seen.column("nodes", 5), strict=True))
        assert len(nodes) == 3
        assert sum(cell.startswith("--") for cell in nodes.values()) == 1  # the manager has none
        await pilot.press("3", "enter")
        await seen.until(lambda: "started" in seen.log())
        await pilot.press("escape", "q")


def test_a_key_leads_to_a_shell_in_a_task_and_back(there: Cluster) -> None:
    """On a real terminal, with the global options that it was begun with."""
    paths = there.manager.paths
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 40, 160, 0, 0))
    where = ("--run-dir", str(paths.run_dir), "--state-dir", str(paths.state_dir))
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-m", "swarmlite.cli", *where, "top"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(ours, 65536)
        shown = shown.partition(text)[2]

    try:
        until(b"far")
        until(b"2/2")
        os.write(ours, b"s")
        until(b"# ")
        os.write(ours, b"echo in-$((40+2))-$(hostname)\n")
        until(b"in-42-")
        os.write(ours, b"exit\n")
        until(b"2/2")  # the tables are drawn again
        os.write(ours, b"q")
        with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
            while os.read(ours, 65536):
                pass
        assert process.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        os.close(ours)
