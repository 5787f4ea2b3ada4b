"""`swarmlite stack ls`."""

from __future__ import annotations

from collections import Counter

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.output.listing import Listing, filters_of, format_option
from swarmlite.cli.session import Session, pass_session
from swarmlite.cli.stack import members
from swarmlite.model.naturally import naturally
from swarmlite.proto.control_pb2 import ListRequest, ListServicesResponse
from swarmlite.stack.world import NAMESPACE_LABEL

LISTING = Listing("{{.Name}}\t{{.Services}}", {"Name": "NAME", "Services": "SERVICES"})


@click.command("ls", cls=Command)
@format_option
@pass_session
def command(session: Session, form: str) -> None:
    """List stacks."""
    request = ListRequest(filters=filters_of([members.label()]))
    reply: ListServicesResponse = client.call(session.control.ListServices, request)
    counts = Counter(s.spec.annotations.labels[NAMESPACE_LABEL] for s in reply.services)
    rows = [{"Name": n, "Services": str(counts[n])} for n in sorted(counts, key=naturally)]
    LISTING.print(rows, form)
