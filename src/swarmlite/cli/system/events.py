"""`swarmlite system events` and `swarmlite events`."""

from __future__ import annotations

from typing import Any

import click

from swarmlite.cli import client
from swarmlite.cli.lazy import Command
from swarmlite.cli.moments import MOMENT
from swarmlite.cli.output.gofunctions import to_json
from swarmlite.cli.output.gotemplate import Template
from swarmlite.cli.output.listing import filter_option, filters_of
from swarmlite.cli.session import Session, pass_session
from swarmlite.docker import event
from swarmlite.proto.host_pb2 import EventsRequest, HostEvent


@click.command("events", cls=Command)
@filter_option
@click.option("--since", type=MOMENT, help="Show all events created since a time or duration.")
@click.option("--until", type=MOMENT, help="Stream events until this time.")
@click.option("--format", "form", default="", help="'json' or a Go template.")
@pass_session
def command(session: Session, filters: Any, since: Any, until: Any, form: str) -> None:
    """Get real time events from this host."""
    request = EventsRequest(since=since, until=until, filters=filters_of(filters))
    template = Template(form) if form and form != "json" else None
    for one in client.stream(session.host.Events(request)):
        click.echo(_shown(one, form, template))


def _shown(one: HostEvent, form: str, template: Template | None) -> str:
    if template is None:
        return to_json(event.body(one)) if form == "json" else event.line(one)
    body = event.body(one)
    names = {"ID": body.get("id", one.actor_id), "Status": body.get("status", one.action)}
    extra = {"From": body.get("from", ""), "Scope": body["scope"]}
    times = {"Time": body["time"], "TimeNano": body["timeNano"]}
    fields = {key: body[key] for key in ("Type", "Action", "Actor")}
    return template.render({**fields, **names, **extra, **times})
