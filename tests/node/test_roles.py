"""The daemon runs the processes that its node's role takes, and no others."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from swarmlite.errors import Unavailable
from swarmlite.identity.files import Identity, make_certificates
from swarmlite.identity.node import parse
from swarmlite.node.children import Child
from swarmlite.node.daemon import Daemon
from swarmlite.node.flags import parse as parse_options
from swarmlite.paths import Paths

MANAGER = {
    "node_id": "n1",
    "role": "manager",
    "advertise_addr": "10.0.0.1:2377",
    "listen_addr": "0.0.0.0:2377",
    "etcd": {"name": "n1", "client_url": "https://127.0.0.1:2381"},
    "etcd_endpoints": ["127.0.0.1:2381"],
}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def a_manager(tmp_path: Path, **commands: str) -> tuple[Daemon, Identity, dict[str, Child]]:
    """What it runs sleeps, or is of `commands`."""
    paths = Paths(tmp_path / "state", tmp_path / "run")
    identity = Identity(paths)
    folder = identity.scratch()
    make_certificates(folder / "certificates", roots=b"r", key=b"k", certificate=b"c")
    (folder / "etcd").mkdir()
    (folder / "manager").mkdir()
    identity.put_in_place(folder, parse(MANAGER))
    paths.logs_dir.mkdir()
    daemon = Daemon(paths, parse_options(["--supervisor", "external"]))
    children = daemon._children = {
        name: Child(name, commands.get(name, "sleep 1000").split, paths.logs_dir)
        for name in ("etcd", "manager", "agent")
    }
    daemon._start_children()
    return daemon, identity, children


async def test_a_node_that_is_no_manager_any_more_runs_its_agent_only(tmp_path: Path) -> None:
    """Whoever changed node.json; the data of its member of etcd goes."""
    daemon, identity, children = a_manager(tmp_path)
    paths = daemon._paths
    following = asyncio.create_task(daemon._follow_identity())
    try:
        await until(lambda: all(child.pid for child in children.values()))
        before = children["agent"].pid
        identity.change_role("worker")
        await until(lambda: children["agent"].pid not in (None, before))
        assert children["etcd"].pid is None and children["manager"].pid is None
        assert not paths.etcd_dir.exists() and not paths.manager_dir.exists()
        assert paths.certificates_dir.exists()
        assert not following.done()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await daemon._stop_children()


@pytest.mark.parametrize(
    ("commands", "slow_s", "logs", "told"),
    [
        ({"etcd": "false"}, 300, "{0}/etcd.log$", False),
        ({"manager": "false"}, 300, "{0}/manager.log$", False),
        ({}, 0.4, "{0}/etcd.log and {0}/manager.log$", True),
    ],
    ids=["etcd ends", "the manager ends", "both run"],
)
async def test_a_manager_is_waited_for_as_long_as_what_it_takes_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    commands: dict[str, str],
    slow_s: float,
    logs: str,
    told: bool,
) -> None:
    """And the one who waits learns where to look meanwhile."""
    monkeypatch.setattr("swarmlite.node.daemon.READY_S", 0.3)
    monkeypatch.setattr("swarmlite.node.daemon.SLOW_READY_S", slow_s)
    daemon, _, _ = a_manager(tmp_path, **commands)
    see = logs.format(tmp_path / "state" / "logs")
    progress: list[str] = []
    try:
        async with asyncio.timeout(60):
            with pytest.raises(Unavailable, match=f"^the manager does not answer yet; see {see}"):
                await daemon._manager_answers(progress.append)
        assert progress[0] == "waiting for the manager"
        if told:
            assert len(progress) == 2
            assert re.search(f"not answer yet: waiting {slow_s:.0f} s .*; see {see}", progress[1])
    finally:
        await daemon._stop_children()
