"""`swarmlite inspect`: an object of any kind, found by its name or id."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.container.inspect import inspect as inspect_container
from swarmlite.cli.image.inspect import inspect as inspect_image
from swarmlite.cli.lazy import Command, flag
from swarmlite.cli.network.listing import find
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.showing import inspect_each, inspect_options
from swarmlite.cli.volume.inspect import inspect as inspect_volume
from swarmlite.docker import cluster, services
from swarmlite.docker.values import Json
from swarmlite.errors import InvalidSpec, NotFound
from swarmlite.proto.control_pb2 import GetRequest

Getter = Callable[[str], Json]
OF_A_HOST = ("container", "image", "volume")
"""What a context that leads to managers knows nothing of."""


@click.command("inspect", cls=Command)
@inspect_options
@flag("-s", "--size", help="Display total file sizes if the type is container.")
@click.option("--type", "kind", default="", help="Only inspect objects of the given type.")
@click.argument("names", nargs=-1, required=True, metavar="NAME|ID...")
@pass_session
def command(session: Session, names: tuple[str, ...], form: str, size: bool, kind: str) -> int:
    """Return low-level information on objects of this host and its swarm."""
    known = getters(session, size)
    if kind and kind not in known:
        raise InvalidSpec(f"{kind!r} is not a valid value for --type: {', '.join(known)}")
    chosen = {kind: known[kind]} if kind else known
    if not kind and session.node.managers_only:
        chosen = {each: getter for each, getter in known.items() if each not in OF_A_HOST}

    def get(ref: str) -> Json:
        for getter in chosen.values():
            try:
                return getter(ref)
            except (NotFound, InvalidSpec):
                # What is malformed as the name of an image may be that of something else.
                continue
        raise NotFound(f"no such {kind or 'object'}: {ref}")

    return inspect_each(names, get, form)


def getters(session: Session, size: bool) -> dict[str, Getter]:
    """A way to find each kind of object, in the order in which they are tried."""
    host: dict[str, Getter] = {
        "container": partial(inspect_container, session, size=size),
        "image": partial(inspect_image, session),
        "network": lambda ref: find(session, ref).inspect(),
        "volume": partial(inspect_volume, session),
    }
    control = session.manager
    if control is None:
        return host
    swarm: dict[str, tuple[Any, Callable[[Any], Json]]] = {
        "node": (control.GetNode, cluster.node),
        "service": (control.GetService, services.service),
        "task": (control.GetTask, services.task),
        "secret": (control.GetSecret, cluster.secret),
        "config": (control.GetConfig, cluster.config),
    }

    def getter(method: Any, shape: Callable[[Any], Json]) -> Getter:
        return lambda ref: shape(client.call(method, GetRequest(ref=ref)))

    return {**host, **{kind: getter(*pair) for kind, pair in swarm.items()}}
