"""What a person would ask of every host after a failure, collected into files."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from swarmlite.storage import trees

from .host import CommandFailed, Host

CLI = (sys.executable, "-m", "swarmlite.cli")
ON_A_MANAGER = {
    "nodes": (*CLI, "node", "ls"),
    "services": (*CLI, "service", "ls"),
    "tasks": (
        "sh",
        "-c",
        f"{sys.executable} -m swarmlite.cli service ls -q | "
        f"xargs -r -n1 {sys.executable} -m swarmlite.cli service ps --no-trunc",
    ),
}
ON_EVERY_HOST = {
    "containers": (*CLI, "container", "ls", "-a"),
    "nft": ("nft", "list", "ruleset"),
    "addresses": ("ip", "addr"),
    "routes": ("ip", "route", "show", "table", "all"),
    "links": ("ip", "-d", "link"),
    "fdb": ("bridge", "fdb"),
    "neighbours": ("ip", "neigh"),
    "processes": ("ps", "auxf"),
    "mounts": ("cat", "/proc/self/mountinfo"),
}


def collect(hosts: Sequence[Host], destination: Path) -> None:
    """Write DESTINATION/HOST/NAME.txt for each command, and the daemons' logs. Never raises."""
    trees.sweep(destination)
    for host in hosts:
        folder = destination / host.name
        folder.mkdir(parents=True, exist_ok=True)
        for log in [host.paths.state_dir / "swarmlited.log", *host.paths.logs_dir.glob("*")]:
            if log.is_file():
                shutil.copy(log, folder / log.name)
        if host.machine is None:
            (folder / "off.txt").write_text("the power is off\n")
            continue
        commands = ON_EVERY_HOST | (ON_A_MANAGER if host.paths.manager_socket.exists() else {})
        for name, command in commands.items():
            (folder / f"{name}.txt").write_text(_output(host, command))
        for netns in sorted(host.paths.netns_dir.glob("*")):
            shown = _output(
                host,
                (
                    "nsenter",
                    f"--net={netns}",
                    "sh",
                    "-c",
                    "ip -d addr; ip route; ip neigh; bridge fdb; nft list ruleset",
                ),
            )
            (folder / f"netns-{netns.name}.txt").write_text(shown)


def _output(host: Host, command: Sequence[str]) -> str:
    try:
        done = host.run(*command, check=False, timeout_s=10)
    except (CommandFailed, OSError, RuntimeError) as error:
        return f"{error}\n"
    return done.stdout + done.stderr
