"""A stack from a file on the page: what it would do first, then done, and removed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from small_manager import SmallPage, small_page, stamp_of

from swarmlite.ids import new_id
from swarmlite.manager.store.api import Put
from swarmlite.proto.objects_pb2 import Service
from swarmlite.stack.world import NAMESPACE_LABEL

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey"),
]
FILE = "services:\n  app:\n    image: app@sha256:" + 64 * "a" + "\n    deploy:\n      replicas: "


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[SmallPage]:
    async with small_page(tmp_path) as made:
        yield made


async def test_a_file_that_is_wrong_says_where_and_no_file_of_the_host_is_read(
    page: SmallPage,
) -> None:
    app = "services:\n  app:\n    image: x\n    replicsa: 3\n"
    wrong = f"{app}secrets: {{a: {{file: /etc/hostname}}}}\n"
    status, text = await page.post("operator", "/deploy/plan", {"name": "shop", "file": wrong})
    problems = re.findall(r'<p class="problem"[^>]*>([^<]*)', text)
    assert status == 400
    assert any("stdin:4" in each and "replicsa" in each for each in problems), problems
    assert any("stdin:5" in each and "only the stack" in each for each in problems), problems
    assert 'id="confirm"' not in text
    built = b"services: {app: {build: /etc}}"
    _, text = await page.post("operator", "/deploy/plan", {"name": "shop", "sent": built})
    assert "has a build section" in text
    huge = b"# " + b"x" * 5_000_000
    status, text = await page.post("operator", "/deploy/plan", {"name": "shop", "sent": huge})
    assert (status, "at most 4 MiB" in text) == (413, True)
    status, text = await page.post("operator", "/deploy/plan", {"name": "-h", "file": FILE + "1"})
    assert (status, "invalid stack name" in text) == (400, True)
    for name in ("shop\0", "s" * 200_000, "a\nb"):
        status, text = await page.post("operator", "/deploy/plan", {"name": name, "file": FILE})
        assert (status, "up to 256 printable characters" in text) == (400, True), name[:9]


async def test_a_reader_deploys_and_removes_nothing(page: SmallPage) -> None:
    assert (await page.get("reader", "/deploy"))[0] == 403
    fields = {"name": "shop", "file": FILE + "1", "stamp": "x"}
    for path in ("/deploy/plan", "/deploy/do", "/stack/shop/plan", "/stack/shop/do"):
        status, text = await page.post("reader", path, fields)
        assert (status, "by an operator" in text) == (403, True), path
    assert "/ui/deploy" not in (await page.get("reader", "/stacks"))[1]


async def test_what_is_deployed_is_what_was_shown(page: SmallPage) -> None:
    """Where somebody else changed the stack meanwhile, it is shown again first."""
    fields = {"name": "shop", "file": FILE + "1\n"}
    _, plan = await page.post("operator", "/deploy/plan", fields)
    assert "+ service shop_app" in plan
    first = fields | {"stamp": stamp_of(plan)}
    assert (await page.post("operator", "/deploy/do", first))[0] == 303
    (service,) = page.store.view.services
    assert service.spec.annotations.name == "shop_app"
    assert ">shop_app</a>" in (await page.get("reader", "/stack/shop"))[1]
    assert '<a href="/ui/stack/shop">shop</a>' in (await page.get("reader", "/stacks"))[1]
    status, text = await page.post("operator", "/deploy/do", first)
    assert (status, "changed since it was shown" in text) == (200, True)
    # A file that is sent has its own ends of lines; the page's form sends others.
    sent = (FILE + "2\n").replace("\n", "\r\n").encode()
    _, plan = await page.post("operator", "/deploy/plan", {"name": "shop", "sent": sent})
    assert "~ service shop_app (no task is replaced)" in plan
    second = {"name": "shop", "file": FILE + "2\n", "stamp": stamp_of(plan)}
    assert (await page.post("operator", "/deploy/do", second))[0] == 303
    assert next(iter(page.store.view.services)).spec.replicated.replicas == 2


async def test_a_stack_is_removed_as_it_was_shown(page: SmallPage) -> None:
    service = Service(id=new_id())
    service.spec.annotations.name = "shop_app"
    service.spec.annotations.labels[NAMESPACE_LABEL] = "shop"
    page.store.commit_now([Put(service)])
    _, plan = await page.post("operator", "/stack/shop/plan", {"do": "remove"})
    assert "<li>service shop_app</li>" in plan
    status, text = await page.post("operator", "/stack/shop/do", {"stamp": "x"})
    assert (status, "somebody else changed" in text) == (409, True)
    assert (await page.post("operator", "/stack/shop/do", {"stamp": stamp_of(plan)}))[0] == 303
    assert all(each.pending_delete for each in page.store.view.services)
