"""Whoever looks, and wherever: what secrets, configs and credentials hold is on no page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_manager import SmallPage, small_page

from swarmlite.ids import new_id
from swarmlite.manager.store.api import Put
from swarmlite.model import task_states
from swarmlite.proto.objects_pb2 import Config, Secret, Service, Task
from swarmlite.proto.specs_pb2 import TaskSpec
from swarmlite.stack.world import NAMESPACE_LABEL

pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey")
NEEDLE = "the-needle"


def with_everything(spec: TaskSpec, secret: Secret, config: Config, number: int) -> None:
    """What a task's specification may say of them, and credentials."""
    spec.container.image = f"app:{number}"
    spec.container.pull_options.registry_auth = f"{NEEDLE}{number}"
    spec.container.secrets.add(secret_id=secret.id, secret_name="word")
    spec.container.configs.add(config_id=config.id, config_name="rules")


async def filled(page: SmallPage) -> None:
    secret, config = Secret(id=new_id()), Config(id=new_id())
    for each, name in ((secret, "word"), (config, "rules")):
        each.spec.annotations.name = name
        each.spec.data = NEEDLE.encode()
    service = Service(id=new_id())
    for each in (secret, config, service):
        each.spec.annotations.labels[NAMESPACE_LABEL] = "shop"
    service.spec.annotations.name = "web"
    service.spec.replicated.replicas = 1
    revision = service.history.add()
    revision.spec_version.index = 1
    for number, spec in enumerate((revision.spec, service.previous_spec, service.spec)):
        with_everything(spec.task, secret, config, number)
    task = Task(id=new_id(), service_id=service.id, slot=1)
    task.service_annotations.name = "web"
    with_everything(task.spec, secret, config, 2)
    task.desired_state = task.status.state = task_states.RUNNING
    page.store.commit_now([Put(each) for each in (secret, config, service, task)])


@pytest.mark.parametrize("role", ["reader", "operator", "admin"])
async def test_no_page_that_a_link_leads_to_shows_what_secrets_hold(
    tmp_path: Path, role: str
) -> None:
    """From the overview on, each link once, and a rollback's plan."""
    async with small_page(tmp_path) as page:
        await filled(page)
        seen: dict[str, str] = {}
        ahead = ["/"]
        while ahead:
            path = ahead.pop()
            if path in seen or path.startswith("/static/"):
                continue
            status, seen[path] = await page.get(role, path)
            assert status == 200, (path, seen[path])
            ahead += re.findall(r'(?:href|data-from|action)="/ui(/[^"#]*)"', "".join(
                re.findall(r"<a [^>]*>|<form role=[^>]*>", seen[path])))  # fmt: skip
        _, seen["plan"] = await page.post(role, "/service/web/plan", {"do": "rollback"})
    kinds = {path.split("/")[1] for path in seen if path != "plan"}
    expected = {"stacks", "stack", "networks", "volumes", "secrets", "configs", "service", "task"}
    assert kinds >= expected | {"logs", "node"}
    assert not [path for path, text in seen.items() if NEEDLE in text]
    assert "<td>word</td>" in seen["/secrets"]
    assert "app:1" in seen["plan"]
