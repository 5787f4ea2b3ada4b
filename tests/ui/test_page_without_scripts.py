"""What a browser does that runs no scripts, and what keeps others' scripts away."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from small_manager import SmallPage, small_page

from swarmlite.errors import Unavailable
from swarmlite.ids import new_id
from swarmlite.manager.store.api import Put
from swarmlite.proto.control_pb2 import LogMessage, LogsResponse
from swarmlite.proto.objects_pb2 import Service, Task
from swarmlite.ui import server

pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey")
ROOM = Path(server.__file__).parent


class Logs:
    """Three lines, then an end: that of the log, or one before its time."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.fails = False

    async def logs(self, request: Any) -> AsyncIterator[LogsResponse]:
        self.asked.append(request)
        lines = (b"<b>first</b>\n", b"second\n", b"third")
        yield LogsResponse(messages=[LogMessage(data=line) for line in lines])
        if self.fails:
            raise Unavailable("the node is gone")


@pytest.fixture
def logs() -> Logs:
    return Logs()


@pytest.fixture
async def page(tmp_path: Path, logs: Logs) -> AsyncIterator[SmallPage]:
    async with small_page(tmp_path, logs=logs) as made:
        service = Service(id=new_id())
        service.spec.annotations.name = "web"
        service.spec.task.container.image = "app:1"
        service.spec.replicated.replicas = 2
        task = Task(id=new_id(), service_id=service.id, slot=1)
        task.service_annotations.name = "web"
        made.store.commit_now([Put(service), Put(task)])
        yield made


async def test_logs_are_read_and_searched_by_the_form_alone(page: SmallPage, logs: Logs) -> None:
    _, text = await page.get("reader", "/service/web")
    found = re.search(r'<form role="search" action="/ui([^"]+)">(.*?)</form>', text)
    assert found is not None
    path, fields = found[1], re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', found[2])
    query = "&".join(f"{name}={value}" for name, value in fields)
    status, text = await page.get("reader", f"{path}?{query}&search=&follow=on")
    assert status == 200, text
    assert [line.partition(" | ")[2] for line in text.splitlines()] == [
        "<b>first</b>", "second", "third",
    ]  # fmt: skip
    assert not logs.asked[-1].options.follow
    _, text = await page.get("reader", f"{path}?{query}&search=SEC")
    assert [line.partition(" | ")[2] for line in text.splitlines()] == ["second"]
    logs.fails = True
    _, text = await page.get("reader", f"{path}?{query}")
    assert text.splitlines()[-1] == "The log ends here: the node is gone"


async def test_a_service_is_scaled_by_forms_alone(page: SmallPage) -> None:
    """The overview is rendered before any script asks; its links and the forms are HTML's own."""
    _, text = await page.get("operator", "/")
    found = re.search(r'data-service="web"><td><a href="/ui([^"]+)">', text)
    assert found is not None
    assert "<noscript>" in text
    _, text = await page.get("operator", found[1])
    (form,) = re.findall(r'<form method="post" action="/ui([^"]+)">[^>]*>[^>]*value="scale">', text)
    _, plan = await page.post("operator", form, {"do": "scale", "replicas": "4"})
    (form,) = re.findall(r'<form method="post" action="/ui([^"]+/do)">', plan)
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', plan))
    fields.pop("token")
    status, _ = await page.post("operator", form, {k: html.unescape(v) for k, v in fields.items()})
    assert status == 303
    assert next(iter(page.store.view.services)).spec.replicated.replicas == 4


def test_no_template_has_what_the_security_policy_refuses() -> None:
    """Scripts and styles in lines of their own, and addresses elsewhere: a browser would say
    nothing, and leave them out.
    """
    sources = "".join(part for part in server.HEADERS["Content-Security-Policy"].split(";"))
    assert set(re.findall(r"'[^']*'", sources)) == {"'none'", "'self'"}
    assert not re.findall(r"https?:|\*|unsafe", sources)
    for file in sorted((ROOM / "templates").iterdir()):
        text = file.read_text()
        for tag in re.findall(r"<[a-z][^>]*>", text):
            assert not re.search(r"\s(?:style|on\w+)=|javascript:|https?://|[\"']//", tag), tag
        assert not re.search(r"<script(?![^>]* src=\"/ui/static/)|<style|<iframe|\|safe", text), (
            file
        )
    for file in sorted((ROOM / "static").iterdir()):
        text = file.read_text()
        assert file.name in server.STATIC
        assert not re.search(r"https?://|@import|url\(|\beval\(|new Function", text), file
