"""Names for a shell that completes a command: those of the cluster and of this host.

Whatever goes wrong completes nothing: a shell has no place for errors.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from swarmlite.cli.session import Session
from swarmlite.errors import SwarmliteError

KINDS = {
    "SERVICE": "SERVICE",
    "NODE": "NODE",
    "STACK": "STACK",
    "SECRET": "SECRET",
    "CONFIG": "CONFIG",
    "NETWORK": "NETWORK",
    "CONTAINER": "CONTAINER",
    "TASK": "TASK",
    "VOLUME": "VOLUME",
    "IMAGE": "IMAGE",
    "SOURCE_IMAGE": "IMAGE",
    "REPOSITORY": "IMAGE",
    "CONTEXT": "CONTEXT",
    "USER": "USER",
    "FILE": "FILE",
    "PATH": "FILE",
    "DEST_PATH": "FILE",
}
"""By the word that an argument begins with."""
_WORD = re.compile(r"\[?(?:SELF\|)?([A-Z_]+)(?![A-Z_])")
OPTIONS = {
    "network": "NETWORK",
    "network_add": "NETWORK",
    "network_rm": "NETWORK",
    "secret": "SECRET",
    "secret_add": "SECRET",
    "secret_rm": "SECRET",
    "config": "CONFIG",
    "config_add": "CONFIG",
    "config_rm": "CONFIG",
    "depends_on": "SERVICE",
    "depends_on_add": "SERVICE",
    "depends_on_rm": "SERVICE",
    "compose_file": "FILE",
    "env_file": "FILE",
}
"""By the option's name in --help."""
MORE = {
    **{("CONTAINER", verb): ("TASK",) for verb in ("cp", "exec", "logs", "stats", "top")},
    **{("NETWORK", verb): ("HOST NETWORK",) for verb in ("connect", "disconnect", "inspect", "rm")},
    **{("NETWORK", verb): ("HOST NETWORK",) for verb in ("create", "run")},
    ("SERVICE", "logs"): ("TASK",),
    ("NODE", "push"): ("IMAGE",),
}
"""What else may stand there, by the kind and the command."""
MOST = 500


def kind_of(param: click.Parameter) -> str:
    """What an argument or an option's value names; empty for anything else."""
    if isinstance(param, click.Option):
        long = next((name for name in param.opts if name.startswith("--")), "")
        return OPTIONS.get(long[2:].replace("-", "_"), "")
    found = _WORD.match((param.metavar or (param.name or "").removesuffix("s")).upper())
    return KINDS.get(found[1], "") if found else ""


def complete(ctx: click.Context, kind: str, begun: str) -> list[CompletionItem]:
    """What a shell may put in place of what was begun."""
    if kind == "FILE":
        return [CompletionItem(begun, type="file")]
    return [CompletionItem(name) for name in names(ctx, kind, begun)]


def names(ctx: click.Context, kind: str, begun: str) -> list[str]:
    """Those of a kind that begin as it was begun."""
    from swarmlite.cli.choosing import choose

    found: set[str] = set()
    for one in (kind, *MORE.get((kind, ctx.command.name or ""), ())):
        with contextlib.suppress(SwarmliteError, OSError):
            choice = choose(ctx.find_root().params)
            session = Session(choice.paths, choice.way, context=choice.context, chosen_by=choice.by)
            found.update(name for name in _NAMES[one](session) if name.startswith(begun))
    return sorted(found)[:MOST]


def _services(session: Session) -> Iterable[str]:
    from swarmlite.proto.control_pb2 import ListRequest

    for service in _call(session.control.ListServices, ListRequest()).services:
        yield service.spec.annotations.name


def _stacks(session: Session) -> Iterable[str]:
    from swarmlite.proto.control_pb2 import ListRequest
    from swarmlite.stack.world import NAMESPACE_LABEL

    for service in _call(session.control.ListServices, ListRequest()).services:
        if stack := service.spec.annotations.labels.get(NAMESPACE_LABEL):
            yield stack


def _nodes(session: Session) -> Iterable[str]:
    from swarmlite.proto.control_pb2 import ListRequest

    for node in _call(session.control.ListNodes, ListRequest()).nodes:
        yield node.description.hostname or node.id


def _secrets(session: Session) -> Iterable[str]:
    from swarmlite.proto.control_pb2 import ListRequest

    for secret in _call(session.control.ListSecrets, ListRequest()).secrets:
        yield secret.spec.annotations.name


def _configs(session: Session) -> Iterable[str]:
    from swarmlite.proto.control_pb2 import ListRequest

    for config in _call(session.control.ListConfigs, ListRequest()).configs:
        yield config.spec.annotations.name


def _networks(session: Session) -> Iterable[str]:
    from swarmlite.proto.control_pb2 import ListRequest

    for network in _call(session.control.ListNetworks, ListRequest()).networks:
        yield network.spec.annotations.name


def _containers(session: Session) -> Iterable[str]:
    from swarmlite.proto.containers_pb2 import ListContainersRequest

    for container in _call(session.containers.List, ListContainersRequest(all=True)).containers:
        yield container.config.name


def _tasks(session: Session) -> Iterable[str]:
    from swarmlite.model import task_states
    from swarmlite.proto.control_pb2 import ListTasksRequest

    for task in _call(session.control.ListTasks, ListTasksRequest()).tasks:
        if task_states.is_live(task):
            yield f"{task.service_annotations.name}.{task.slot or task.node_id}"


def _host_networks(session: Session) -> Iterable[str]:
    from swarmlite.proto.control_pb2 import ListRequest

    for network in _call(session.host_networks.List, ListRequest()).networks:
        yield network.spec.annotations.name


def _volumes(session: Session) -> Iterable[str]:
    from swarmlite.proto.control_pb2 import ListRequest

    for volume in _call(session.volumes.List, ListRequest()).volumes:
        yield volume.name


def _images(session: Session) -> Iterable[str]:
    from swarmlite.proto.control_pb2 import ListRequest

    for image in _call(session.images.List, ListRequest()).images:
        yield from image.repo_tags


def _users(session: Session) -> Iterable[str]:
    from swarmlite.proto.control_pb2 import GetRequest

    cluster = _call(session.control.GetCluster, GetRequest(ref="default"))
    for user in cluster.users.values():
        yield user.name


def _contexts(session: Session) -> Iterable[str]:
    from swarmlite.client.contexts import Contexts

    return Contexts().names()


def _call(method: Any, request: Any) -> Any:
    from swarmlite.cli import client

    return client.call(method, request)


_NAMES: dict[str, Callable[[Session], Iterable[str]]] = {
    "SERVICE": _services,
    "STACK": _stacks,
    "NODE": _nodes,
    "SECRET": _secrets,
    "CONFIG": _configs,
    "NETWORK": _networks,
    "CONTAINER": _containers,
    "TASK": _tasks,
    "HOST NETWORK": _host_networks,
    "VOLUME": _volumes,
    "IMAGE": _images,
    "USER": _users,
    "CONTEXT": _contexts,
}
