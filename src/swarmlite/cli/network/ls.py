"""`swarmlite network ls`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli.lazy import Command
from swarmlite.cli.network.listing import Found, every
from swarmlite.cli.output import human
from swarmlite.cli.output.listing import (
    Labelled,
    Listing,
    labelled,
    list_options,
    no_trunc_option,
)
from swarmlite.cli.session import Session, pass_session
from swarmlite.docker import values
from swarmlite.model.naturally import naturally

LISTING = Listing(
    "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    {
        "ID": "NETWORK ID",
        "Name": "NAME",
        "Driver": "DRIVER",
        "Scope": "SCOPE",
        "IPv4": "IPV4",
        "IPv6": "IPV6",
        "Internal": "INTERNAL",
        "Labels": "LABELS",
        "CreatedAt": "CREATED AT",
    },
)


@click.command("ls", cls=Command)
@list_options
@no_trunc_option
@pass_session
def command(session: Session, filters: Any, form: str, quiet: bool, no_trunc: bool) -> None:
    """List networks."""
    found = every(session, filters)
    ordered = sorted(found, key=lambda one: naturally(one.network.spec.annotations.name))
    LISTING.print([row(one, no_trunc) for one in ordered], form, quiet=quiet)


def row(found: Found, no_trunc: bool = False) -> Labelled:
    """One network's row."""
    network, spec = found.network, found.network.spec
    labels = dict(spec.annotations.labels)
    fields = {
        "CreatedAt": values.go_time(network.meta.created_at),
        "Driver": found.driver,
        "ID": network.id if no_trunc else human.short_id(network.id),
        "IPv4": "true",
        "IPv6": str(spec.ipv6_enabled).lower(),
        "Internal": str(spec.internal).lower(),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Name": spec.annotations.name,
        "Scope": found.scope,
    }
    return labelled(fields, labels)
