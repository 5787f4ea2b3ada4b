"""Two people at the same service, each with a plan before them."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_client import field_of
from small_manager import small_page

from swarmlite.ids import new_id
from swarmlite.manager.store.api import Put
from swarmlite.proto.objects_pb2 import Service

pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey")


async def test_of_two_who_change_a_service_the_second_looks_at_it_again(tmp_path: Path) -> None:
    """Both saw their plan; what the first one wrote stays."""
    service = Service(id=new_id())
    service.spec.annotations.name = "web"
    service.spec.task.container.image = "app:1"
    service.spec.replicated.replicas = 2
    async with small_page(tmp_path) as page:
        page.store.commit_now([Put(service)])
        plans = {}
        for role, replicas in (("operator", "3"), ("admin", "1")):
            form = {"do": "scale", "replicas": replicas}
            _, plan = await page.post(role, "/service/web/plan", form)
            assert f"from 2 to {replicas} replicas" in plan
            plans[role] = form | {"version": field_of(plan, "version")}
        assert (await page.post("operator", "/service/web/do", plans["operator"]))[0] == 303
        status, text = await page.post("admin", "/service/web/do", plans["admin"])
        assert (status, "somebody else changed this service" in text) == (409, True)
        assert page.store.view.services.get(service.id).spec.replicated.replicas == 3
