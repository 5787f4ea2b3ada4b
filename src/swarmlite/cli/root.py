"""The tree of commands: every noun and verb with its line of help, and the global options."""

from __future__ import annotations

from typing import Any

import click

import swarmlite
from swarmlite.cli.choosing import choose, tls_options
from swarmlite.cli.lazy import Group
from swarmlite.cli.session import Session

CONTAINER = {
    "attach": "Attach standard input, output, and error streams to a running container",
    "commit": "Create a new image from a container's changes",
    "cp": "Copy files/folders between a container and the local filesystem",
    "create": "Create a new container",
    "diff": "Inspect changes to files or directories on a container's filesystem",
    "exec": "Execute a command in a running container",
    "export": "Export a container's filesystem as a tar archive",
    "inspect": "Display detailed information on one or more containers",
    "kill": "Kill one or more running containers",
    "logs": "Fetch the logs of a container",
    "ls": "List containers",
    "pause": "Pause all processes within one or more containers",
    "port": "List port mappings or a specific mapping for the container",
    "prune": "Remove all stopped containers",
    "rename": "Rename a container",
    "restart": "Restart one or more containers",
    "rm": "Remove one or more containers",
    "run": "Create and run a new container from an image",
    "start": "Start one or more stopped containers",
    "stats": "Display a live stream of container(s) resource usage statistics",
    "stop": "Stop one or more running containers",
    "top": "Display the running processes of a container",
    "unpause": "Unpause all processes within one or more containers",
    "update": "Update configuration of one or more containers",
    "wait": "Block until one or more containers stop, then print their exit codes",
}
"""The verbs of `container`; but for inspect, ls, prune and top each is a command of its own too."""

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
            "upgrade": "Check the way to another release",
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
    "ui": (
        "Manage the page of a manager",
        {
            "enable": "Serve the page on this manager",
            "disable": "Serve the page no more",
            "open": "Print a link that signs in once",
        },
    ),
    "service": (
        "Manage Swarm services",
        {
            "create": "Create a new service",
            "history": "Show the revisions of a service",
            "inspect": "Display detailed information on one or more services",
            "logs": "Fetch the logs of a service or task",
            "ls": "List services",
            "ps": "List the tasks of one or more services",
            "promote": "Let an update go on past its canaries",
            "rebalance": "Move tasks to nodes that have fewer of them",
            "rm": "Remove one or more services",
            "rollback": "Revert changes to a service's configuration",
            "scale": "Scale one or multiple replicated services",
            "start": "Run the tasks of services that were stopped",
            "stop": "End the tasks of services, and keep all else of them",
            "update": "Update a service",
        },
    ),
    "user": (
        "Manage users of the swarm: whom its managers gave a certificate",
        {
            "ls": "List users",
            "rm": "Remove one or more users, whose certificates are refused from then on",
            "token": "Print a token by which somebody logs in, once",
        },
    ),
    "stack": (
        "Manage Swarm stacks",
        {
            "build": "Build the images of a stack's services",
            "config": "Outputs the final config file, after doing merges and interpolations",
            "deploy": "Deploy a new stack or update an existing stack",
            "diff": "Show what a deployment of the stack would make, change and remove",
            "ls": "List stacks",
            "ps": "List the tasks in the stack",
            "rm": "Remove one or more stacks",
            "services": "List the services in the stack",
        },
    ),
    "network": (
        "Manage networks",
        {
            "check": "Probe a network of the swarm between all its nodes",
            "connect": "Connect a container to a network",
            "create": "Create a network",
            "diagram": "Draw networks of the swarm: their services, tasks and nodes",
            "disconnect": "Disconnect a container from a network",
            "inspect": "Display detailed information on one or more networks",
            "ls": "List networks",
            "prune": "Remove all unused networks of this host",
            "rm": "Remove one or more networks",
            "trace": "Show how a name or an address is resolved and routed for a task",
        },
    ),
    "secret": (
        "Manage Swarm secrets",
        {
            "create": "Create a secret from a file or STDIN as content",
            "inspect": "Display detailed information on one or more secrets",
            "ls": "List secrets",
            "rm": "Remove one or more secrets",
            "rotate": "Make a new version of a secret and roll the services that use it",
        },
    ),
    "config": (
        "Manage Swarm configs",
        {
            "create": "Create a config from a file or STDIN",
            "inspect": "Display detailed information on one or more configs",
            "ls": "List configs",
            "rm": "Remove one or more configs",
            "rotate": "Make a new version of a config and roll the services that use it",
        },
    ),
    "image": (
        "Manage this host's images",
        {
            "build": "Build an image from a Dockerfile",
            "copy": "Copy an image between registries, archives and this node",
            "history": "Show the history of an image",
            "import": "Import the contents from a tarball to create a filesystem image",
            "inspect": "Display detailed information on one or more images",
            "load": "Load an image from a tar archive or STDIN",
            "ls": "List images",
            "prune": "Remove unused images",
            "pull": "Download an image from a registry",
            "push": "Upload an image to a registry",
            "rm": "Remove one or more images",
            "save": "Save one or more images to a tar archive",
            "tag": "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        },
    ),
    "builder": (
        "Build images, and manage the cache of it",
        {
            "build": "Build an image from a Dockerfile",
            "du": "Show the build cache and its size",
            "prune": "Remove the build cache",
        },
    ),
    "volume": (
        "Manage this host's volumes",
        {
            "create": "Create a volume",
            "inspect": "Display detailed information on one or more volumes",
            "ls": "List volumes",
            "prune": "Remove unused local volumes",
            "rm": "Remove one or more volumes",
        },
    ),
    "container": ("Manage this host's containers", CONTAINER),
    "context": (
        "Manage contexts: names for nodes that commands speak to",
        {
            "create": "Create a context",
            "export": "Export a context to a tar archive FILE or a tar stream on STDOUT",
            "import": "Import a context from a tar file",
            "inspect": "Display detailed information on one or more contexts",
            "ls": "List contexts",
            "rm": "Remove one or more contexts",
            "show": "Print the name of the context that commands use",
            "update": "Update a context",
            "use": "Set the current context",
        },
    ),
    "system": (
        "Manage this host",
        {
            "df": "Show this host's disk usage",
            "dial-stdio": "Proxy the standard streams to Docker's API of this host",
            "events": "Get real time events from this host",
            "info": "Display information about this host and its swarm",
            "prune": "Remove unused data of this host",
        },
    ),
    "dev": (
        "A cluster of hosts on this machine, made of namespaces",
        {
            "add": "Boot one more host and join it to the swarm",
            "boot": "Power hosts on, or start their daemon",
            "down": "End the hosts",
            "kill": "Cut the power of hosts, or kill a process of theirs",
            "ls": "List the hosts",
            "restart": "Power hosts off and on, or restart a process of theirs",
            "up": "Bring hosts up and form a swarm of them",
        },
    ),
}

_SHORTCUTS: dict[str, tuple[str | click.Command, str]] = {
    **{
        verb: (f"swarmlite.cli.container.{verb}", line)
        for verb, line in CONTAINER.items()
        if verb not in ("inspect", "ls", "prune", "top")
    },
    "build": ("swarmlite.cli.image.build", "Build an image from a Dockerfile"),
    "backup": ("swarmlite.cli.backup", "Save the cluster's state and its CA to a file"),
    "restore": ("swarmlite.cli.restore", "Make this host the manager of a cluster that was saved"),
    "completion": ("swarmlite.cli.completion", "Print what makes a shell complete commands"),
    "doctor": ("swarmlite.cli.doctor", "Check this host, and its way to the other nodes"),
    "adopt": ("swarmlite.cli.adopt", "Make what a Docker Swarm has in this cluster"),
    "events": ("swarmlite.cli.system.events", "Get real time events from this host"),
    "history": ("swarmlite.cli.image.history", "Show the history of an image"),
    "images": ("swarmlite.cli.image.ls", "List this host's images"),
    "import": ("swarmlite.cli.image.importing", "Import a tarball to create an image"),
    "inspect": ("swarmlite.cli.object_inspect", "Return low-level information on any object"),
    "load": ("swarmlite.cli.image.load", "Load an image from a tar archive or STDIN"),
    "login": ("swarmlite.cli.image.login", "Authenticate to a registry, or to a swarm"),
    "logout": ("swarmlite.cli.image.logout", "Log out from a registry"),
    "port-forward": ("swarmlite.cli.port_forward", "Forward ports of this host to a task"),
    "ps": ("swarmlite.cli.container.ls", "List this host's containers"),
    "pull": ("swarmlite.cli.image.pull", "Download an image from a registry"),
    "push": ("swarmlite.cli.image.push", "Upload an image to a registry"),
    "rmi": ("swarmlite.cli.image.rm", "Remove one or more images"),
    "save": ("swarmlite.cli.image.save", "Save one or more images to a tar archive"),
    "tag": ("swarmlite.cli.image.tag", "Create a tag that refers to an image"),
    "top": ("swarmlite.cli.top", "Show the cluster live, or the processes of a container"),
    "info": ("swarmlite.cli.host_info", "Display information about this host and its swarm"),
    "version": ("swarmlite.cli.host_version", "Show the version"),
}

_ALIASES = {"list": "ls", "remove": "rm"}
_MORE_ALIASES = {
    "container": {"ps": "ls"},
    "stack": {"up": "deploy", "down": "rm"},
}
"""Docker's other names of verbs; every noun has `list` and `remove` where it has ls and rm."""

_ELSEWHERE = {
    "compose": "use `swarmlite stack deploy -c FILE STACK`",
    "manifest": "use `swarmlite image inspect`, and --all-platforms of pull, push and save",
    "plugin": "there are no plugins",
    "scale": "use `swarmlite service scale SERVICE=REPLICAS`",
    "search": "not supported; search on the registry's own site",
    "task": "use `swarmlite service ps SERVICE`, `swarmlite node ps` or `swarmlite inspect TASK`",
    "tasks": "use `swarmlite service ps SERVICE`, `swarmlite node ps` or `swarmlite stack ps`",
    "trust": "not supported",
    "checkpoint": "not supported",
}
"""Words of Docker's that are no commands here, and what to type."""


_MODULES = {"import": "importing"}
"""Modules of verbs that are words of Python."""


def _tree() -> dict[str, tuple[str | click.Command, str]]:
    tree: dict[str, tuple[str | click.Command, str]] = {}
    for noun, (line, verbs) in _NOUNS.items():
        modules: dict[str, tuple[str | click.Command, str]] = {
            verb: (f"swarmlite.cli.{noun}.{_MODULES.get(verb) or verb.replace('-', '_')}", text)
            for verb, text in verbs.items()
        }
        aliases = {**_ALIASES, **_MORE_ALIASES.get(noun, {})}
        hints = _ELSEWHERE if noun in ("image", "container", "system") else {}
        tree[noun] = (Group(noun, line, modules, aliases=aliases, elsewhere=hints), line)
    tree["buildx"] = tree["builder"]  # the word that Docker's users type
    return {**tree, **_SHORTCUTS}


root = Group(
    "swarmlite",
    "Containers on many hosts, with Docker Swarm's words.",
    _tree(),
    elsewhere=_ELSEWHERE,
)


def _contexts(ctx: click.Context, param: click.Parameter, begun: str) -> list[Any]:
    from swarmlite.cli import completing

    return completing.complete(ctx, "CONTEXT", begun)


def _begin(**options: Any) -> None:
    choice = choose(options)
    click.get_current_context().obj = Session(
        choice.paths, choice.way, context=choice.context, chosen_by=choice.by
    )


root.callback = _begin
root.params = [
    click.Option(["--state-dir"], metavar="DIR", help="The node's state directory."),
    click.Option(["--run-dir"], metavar="DIR", help="The directory of the node's sockets."),
    click.Option(
        ["-H", "--host"],
        metavar="ADDRESS",
        help="The node: unix://DIR, tcp://HOST:PORT or ssh://USER@HOST ($SWARMLITE_HOST).",
    ),
    click.Option(
        ["-c", "--context"],
        help="The node, by a context's name ($SWARMLITE_CONTEXT).",
        shell_complete=_contexts,
    ),
    *tls_options(),
    click.Option(["-D", "--debug"], is_flag=True, help="Show where an unexpected error arose."),
]
click.version_option(
    swarmlite.__version__, "-v", "--version", message="swarmlite version %(version)s"
)(root)
