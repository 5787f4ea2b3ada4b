"""Names for a shell that completes a command: those of the cluster and of this host.

Whatever goes wrong completes nothing: a shell has no place for errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import click

from swarmlite.cli.session import Session
from swarmlite.errors import SwarmliteError

NAMED = re.compile(r"\[?(?:self\|)?(SERVICE|NODE|STACK|SECRET|CONFIG|NETWORK|CONTAINER)\b")
"""How an argument begins that names something which is there."""
MOST = 500


def kind_of(argument: click.Argument) -> str:
    """What an argument names; empty for anything else."""
    found = NAMED.match(argument.metavar or (argument.name or "").upper().removesuffix("S"))
    return found[1] if found else ""


def names(ctx: click.Context, kind: str, begun: str) -> list[str]:
    """Those of a kind that begin as it was begun."""
    from swarmlite.cli.choosing import choose

    try:
        choice = choose(ctx.find_root().params)
        session = Session(choice.paths, choice.way, context=choice.context, chosen_by=choice.by)
        found = sorted({name for name in _NAMES[kind](session) if name.startswith(begun)})
    except (SwarmliteError, OSError):
        return []
    return found[:MOST]


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
}
