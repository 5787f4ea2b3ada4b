"""Removes what no task of this node owns: containers, sandboxes, bundles, payloads.

An agent that was killed in the middle of a step leaves such things; so do tasks whose clean-up
failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from swarmlite.agent.workload import Host
from swarmlite.errors import NotFound

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owners:
    """Task ids with their container ids; those that have ended keep only their folder."""

    live: dict[str, str] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)


async def sweep(host: Host, owners: Callable[[], Owners]) -> None:
    """Remove what none of `owners` has. Raises Unavailable without a supervisor.

    Containers are listed first and the owners asked after, so that what begins meanwhile is spared.
    """
    listed = await host.supervisor.client.list()
    now = owners()
    live, known = set(now.live.values()), {*now.live.values(), *now.ended.values()}
    containers = [
        state.id
        for state in listed
        if state.id not in live and state.bundle.parent == host.containers_dir
    ]
    sandboxes = [name for name in host.network.sandboxes() if name not in now.live]
    payloads = [name for name in host.payload_files.containers() if name not in live]
    folders = [path for path in _folders(host) if path.name not in known]
    for container in containers:
        log.info("removing a stray container id=%s", container)
        with contextlib.suppress(NotFound):
            await host.supervisor.client.delete(container, force=True)
    for sandbox in sandboxes:
        log.info("removing a stray sandbox id=%s", sandbox)
        await host.network.delete_sandbox(sandbox)
    for name in payloads:
        host.payload_files.remove(name)
    for path in folders:
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)


def _folders(host: Host) -> list[Path]:
    return list(host.containers_dir.iterdir()) if host.containers_dir.is_dir() else []
