"""What `secret rotate` and `config rotate` share: a new version, and the services that use it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click

from swarmlite.cli import client
from swarmlite.cli.service import changing
from swarmlite.cli.service.progress import converge_all
from swarmlite.cli.session import Session
from swarmlite.errors import NotFound
from swarmlite.proto.control_pb2 import ListRequest
from swarmlite.proto.objects_pb2 import Service
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack import versions

Kind = Literal["secret", "config"]


def rotate(
    session: Session, kind: Kind, name: str, file: str | None, create: Any, *, wait: bool
) -> None:
    """Make the next version of `name` with what `file` holds, and lead its users to it.

    `create` makes one of a name, its data and its labels, and answers it. Raises NotFound.
    """
    data = sys.stdin.buffer.read() if file in (None, "-") else Path(str(file)).read_bytes()
    known = versions.family(name, _all(session, kind))
    if not known:
        raise NotFound(f"{kind} not found: {name}")
    labels = {**known[-1].spec.annotations.labels, versions.LABEL: versions.base_of(known[0])}
    made = create(versions.next_name(name, known), data, labels, known[-1])
    click.echo(made.spec.annotations.name)
    old = {item.id for item in known}
    changed = []
    for service in client.call(session.control.ListServices, ListRequest()).services:
        if any(getattr(ref, f"{kind}_id") in old for ref in _references(service.spec, kind)):
            changed.append(_lead(session, service, kind, old, made))
    if wait:
        converge_all(session, [(before.id, before) for before in changed])


def _all(session: Session, kind: Kind) -> Sequence[Any]:
    control = session.control
    if kind == "secret":
        return list(client.call(control.ListSecrets, ListRequest()).secrets)
    return list(client.call(control.ListConfigs, ListRequest()).configs)


def _references(spec: ServiceSpec, kind: Kind) -> Any:
    container = spec.task.container
    return container.secrets if kind == "secret" else container.configs


def _lead(session: Session, service: Service, kind: Kind, old: set[str], made: Any) -> Service:
    def edit(spec: ServiceSpec) -> ServiceSpec:
        edited = ServiceSpec()
        edited.CopyFrom(spec)
        for reference in _references(edited, kind):
            if getattr(reference, f"{kind}_id") in old:
                setattr(reference, f"{kind}_id", made.id)
                setattr(reference, f"{kind}_name", made.spec.annotations.name)
        return edited

    before = changing.change(session, service.id, edit)
    click.echo(f"Updating service {service.spec.annotations.name} (id: {service.id})")
    return before
