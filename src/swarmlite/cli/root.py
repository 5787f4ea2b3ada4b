"""The tree of commands: every noun and verb with its line of help, and the global options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

import swarmlite
from swarmlite.cli.lazy import Group
from swarmlite.cli.session import Session
from swarmlite.paths import Paths

_NOUNS: dict[str, tuple[str, dict[str, str]]] = {
    "swarm": (
        "Manage Swarm",
        {
            "init": "Initialize a swarm",
            "join": "Join a swarm as a node and/or manager",
            "join-token": "Manage join tokens",
            "leave": "Leave the swarm",
            "update": "Update the swarm",
            "ca": "Display and rotate the root CA",
            "unlock": "Unlock swarm",
            "unlock-key": "Manage the unlock key",
        },
    ),
    "node": (
        "Manage Swarm nodes",
        {
            "ls": "List nodes in the swarm",
            "inspect": "Display detailed information on one or more nodes",
            "ps": "List tasks running on one or more nodes, defaults to current node",
            "rm": "Remove one or more nodes from the swarm",
            "update": "Update a node",
            "promote": "Promote one or more nodes to manager in the swarm",
            "demote": "Demote one or more nodes from manager in the swarm",
        },
    ),
    "service": (
        "Manage Swarm services",
        {
            "create": "Create a new service",
            "inspect": "Display detailed information on one or more services",
            "logs": "Fetch the logs of a service or task",
            "ls": "List services",
            "ps": "List the tasks of one or more services",
            "rm": "Remove one or more services",
            "rollback": "Revert changes to a service's configuration",
            "scale": "Scale one or multiple replicated services",
            "update": "Update a service",
        },
    ),
    "stack": (
        "Manage Swarm stacks",
        {
            "config": "Outputs the final config file, after doing merges and interpolations",
            "deploy": "Deploy a new stack or update an existing stack",
            "ls": "List stacks",
            "ps": "List the tasks in the stack",
            "rm": "Remove one or more stacks",
            "services": "List the services in the stack",
        },
    ),
    "network": (
        "Manage networks",
        {
            "create": "Create a network",
            "inspect": "Display detailed information on one or more networks",
            "ls": "List networks",
            "rm": "Remove one or more networks",
        },
    ),
    "secret": (
        "Manage Swarm secrets",
        {
            "create": "Create a secret from a file or STDIN as content",
            "inspect": "Display detailed information on one or more secrets",
            "ls": "List secrets",
            "rm": "Remove one or more secrets",
        },
    ),
    "config": (
        "Manage Swarm configs",
        {
            "create": "Create a config from a file or STDIN",
            "inspect": "Display detailed information on one or more configs",
            "ls": "List configs",
            "rm": "Remove one or more configs",
        },
    ),
    "image": (
        "Manage this host's images",
        {
            "load": "Load an image from a tar archive or STDIN",
            "ls": "List images",
            "pull": "Download an image from a registry",
            "rm": "Remove one or more images",
        },
    ),
    "volume": (
        "Manage this host's volumes",
        {
            "create": "Create a volume",
            "inspect": "Display detailed information on one or more volumes",
            "ls": "List volumes",
            "rm": "Remove one or more volumes",
        },
    ),
    "container": (
        "Manage this host's containers",
        {"exec": "Run a command in a running container", "ls": "List containers"},
    ),
    "dev": (
        "A cluster of hosts on this machine, made of namespaces",
        {"up": "Bring hosts up and form a swarm of them", "down": "End the hosts"},
    ),
}

_SHORTCUTS = {
    "exec": ("swarmlite.cli.container.exec", "Run a command in a running container"),
    "images": ("swarmlite.cli.image.ls", "List this host's images"),
    "load": ("swarmlite.cli.image.load", "Load an image from a tar archive or STDIN"),
    "ps": ("swarmlite.cli.container.ls", "List this host's containers"),
    "pull": ("swarmlite.cli.image.pull", "Download an image from a registry"),
    "info": ("swarmlite.cli.host_info", "Display information about this host and its swarm"),
    "version": ("swarmlite.cli.host_version", "Show the version"),
}


def _tree() -> dict[str, tuple[str | click.Command, str]]:
    tree: dict[str, tuple[str | click.Command, str]] = {}
    for noun, (line, verbs) in _NOUNS.items():
        modules: dict[str, tuple[str | click.Command, str]] = {
            verb: (f"swarmlite.cli.{noun}.{verb.replace('-', '_')}", text)
            for verb, text in verbs.items()
        }
        tree[noun] = (Group(noun, line, modules), line)
    return {**tree, **_SHORTCUTS}


root = Group("swarmlite", "Containers on many hosts, with Docker Swarm's words.", _tree())


def _begin(**options: Any) -> None:
    paths = Paths.from_environment()
    if options["state_dir"]:
        paths = replace(paths, state_dir=Path(options["state_dir"]))
    run_dir = options["run_dir"] or (options["host"] or "").removeprefix("unix://")
    if run_dir:
        paths = replace(paths, run_dir=Path(run_dir))
    click.get_current_context().obj = Session(paths)


root.callback = _begin
root.params = [
    click.Option(["--state-dir"], metavar="DIR", help="The node's state directory."),
    click.Option(["--run-dir"], metavar="DIR", help="The directory of the node's sockets."),
    click.Option(["-H", "--host"], metavar="unix://DIR", help="The same as --run-dir."),
    click.Option(["-D", "--debug"], is_flag=True, help="Show where an unexpected error arose."),
]
click.version_option(
    swarmlite.__version__, "-v", "--version", message="swarmlite version %(version)s"
)(root)
