"""What the page shows of one thing, asked of a real manager."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from page_client import WAIT_S, ask, base, field_of, page, session, signed_in, tasks, token_of

from swarmlite.testing import Cluster
from swarmlite.testing.images import busybox
from swarmlite.testing.oci import docker_archive

pytestmark = pytest.mark.timeout(600)


def do(cluster: Cluster, path: str, cookie: str, **fields: str) -> tuple[str, int, str]:
    """The plan of a change, and status and text of what became of it."""
    fields["token"] = token_of(page(cluster, path, cookie))
    status, _, plan = ask(cluster, f"{base(cluster)}{path}/plan", cookie, fields)
    assert status == 200, plan
    fields["version"] = field_of(plan, "version")
    status, _, text = ask(cluster, f"{base(cluster)}{path}/do", cookie, fields)
    return plan, status, text


async def read_log(cluster: Cluster, path: str, cookie: str, enough: Any) -> list[Any]:
    """Lines of a log until there are enough, or it ends."""
    lines: list[Any] = []
    async with session(cluster, cookie) as client, client.get(f"{base(cluster)}{path}") as answer:
        kind = ""
        async for raw in answer.content:
            name, _, data = raw.decode().strip().partition(": ")
            if name == "event":
                kind = data
            elif name == "data" and kind == "lines":
                lines += json.loads(data)
            if enough(lines) or (name == "event" and data in ("end", "problem")):
                break
    return lines


async def test_a_services_logs_are_merged_and_searched_on_the_managers(cluster: Cluster) -> None:
    """Both tasks, both streams, while it is followed; the search leaves what has the words."""
    cookie = signed_in(cluster, "reader")
    async with asyncio.timeout(WAIT_S):
        found = await read_log(
            cluster, "/logs/service/" + await web_id(cluster), cookie,
            lambda lines: {(line["task"], line["stream"]) for line in lines}
            >= {(f"web.{n}", s) for n in (1, 2) for s in ("stdout", "stderr")},
        )  # fmt: skip
        assert all(line["at"] for line in found)
        path = f"/logs/service/{await web_id(cluster)}?search=COMPLAINS&follow=0"
        found = await read_log(cluster, path, cookie, lambda _: False)
    assert {line["text"] for line in found} == {"complains"}


async def web_id(cluster: Cluster) -> str:
    said = await asyncio.to_thread(
        cluster.manager.cli, "service", "inspect", "--format", "{{.ID}}", "web"
    )
    return said.strip()


def test_a_service_says_what_each_version_changed_and_goes_back_to_one(cluster: Cluster) -> None:
    """An update by the command line; its difference on the page; back by the page."""
    cookie = signed_in(cluster, "operator")
    cluster.manager.cli("service", "update", "-d", "--env-add", "COLOUR=red", "web")
    text = page(cluster, "/service/web", cookie)
    assert "+ task.container.env: COLOUR=red" in text
    plan, status, _ = do(cluster, "/service/web", cookie, do="rollback")
    assert "- task.container.env: COLOUR=red" in plan
    assert status == 303
    assert "COLOUR" not in cluster.manager.cli("service", "inspect", "web", "--format", "{{.Spec}}")


def test_a_task_shows_its_health_checks_output(cluster: Cluster) -> None:
    cookie = signed_in(cluster, "reader")

    def said() -> bool:
        text = page(cluster, f"/task/{tasks(cluster)[0]}", cookie)
        return '<td class="output">fit' in text and "healthy" in text

    cluster.wait(said, WAIT_S, "the check's output")
    text = page(cluster, f"/task/{tasks(cluster)[0]}", cookie)
    assert "data-shell" not in text
    assert '"ContainerSpec"' in text.replace("&#34;", '"')


def test_an_operator_changes_no_node_and_the_last_manager_stays_one(cluster: Cluster) -> None:
    """An operator sees no button either."""
    cookie = signed_in(cluster, "operator")
    assert "Drain…" not in page(cluster, "/node/self", cookie)
    _, status, text = do(cluster, "/node/self", cookie, do="pause")
    assert (status, "may not call UpdateNode" in text) == (403, True)
    _, status, _ = do(cluster, "/node/self", signed_in(cluster, "admin"), do="demote")
    assert status == 409


async def test_a_shell_runs_commands_and_a_reader_gets_none(cluster: Cluster) -> None:
    """By a websocket with the session's token; of another origin, or without the token, never."""
    task_id = (await asyncio.to_thread(tasks, cluster))[0]
    url = f"{base(cluster)}/task/{task_id}/shell"
    origin = f"https://{cluster.manager.addr}:2376"

    async def told(role: str, origin: str, token: str | None = None, typed: bytes = b"") -> Any:
        """All output, and what was said at the end."""
        cookie = await asyncio.to_thread(signed_in, cluster, role)
        text = await asyncio.to_thread(page, cluster, f"/task/{task_id}", cookie)
        output, said = b"", {}
        async with (
            session(cluster, cookie) as client,
            client.ws_connect(url, origin=origin) as socket,
        ):
            await socket.send_json({"token": token or token_of(text), "command": "sh"})
            if typed:
                await socket.send_bytes(typed)
            async for message in socket:
                if message.type == aiohttp.WSMsgType.BINARY:
                    output += message.data
                else:
                    said = json.loads(message.data)
        return output, said

    async with asyncio.timeout(WAIT_S):
        output, said = await told("operator", origin, typed=b"echo $((6*7))x; exit 3\r")
        assert re.search(rb"42x\r\n", output)
        assert said == {"ended": 3}
        _, said = await told("operator", origin, token="x")
        assert "not of this page" in said["error"]
        _, said = await told("reader", origin)
        assert "takes an operator" in said["error"]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await told("operator", "https://elsewhere.example")
        assert refused.value.status == 403


def test_networks_volumes_secrets_and_configs_are_listed_and_what_they_hold_is_not(
    cluster: Cluster,
) -> None:
    cookie = signed_in(cluster, "reader")
    networks = page(cluster, "/networks", cookie)
    network = re.search(r'href="/ui(/network/[^"]+)">backbone', networks)
    assert network is not None
    assert "<line " in networks
    of_one = page(cluster, network[1], cookie)
    assert all(f">web.{slot}</a>" in of_one for slot in (1, 2))
    volumes = page(cluster, "/volumes", cookie)
    assert "<td>kept</td>" in volumes
    assert "web.1, web.2" in volumes
    for kind, name in (("secrets", "word"), ("configs", "rules")):
        text = page(cluster, f"/{kind}", cookie)
        assert f"<td>{name}</td>" in text
        assert "<td>web</td>" in text
        assert "needle" not in text
    assert "None." in page(cluster, "/stacks", cookie)


def test_a_node_shows_images_and_volumes_of_no_task_too(
    cluster: Cluster, image: list[str], tmp_path: Path
) -> None:
    """To a reader as to everybody; labels and options to nobody."""
    spare = replace(busybox().named("spare/tool:7"), settings={"Labels": {"pass": "needle"}})
    archive = tmp_path / "spare.tar"
    archive.write_bytes(docker_archive([spare]))
    cluster.manager.cli("load", "-q", "-i", str(archive))
    cluster.manager.cli("volume", "create", "--label", "pass=needle", "unused")
    try:
        text = page(cluster, "/node/self", signed_in(cluster, "reader"))
    finally:
        cluster.manager.cli("volume", "rm", "unused")
        cluster.manager.cli("rmi", "spare/tool:7")
    images, _, volumes = text.partition(">Images<")[2].partition(">Volumes<")
    assert "spare/tool:7" in images
    assert f"{image[0].rpartition(':')[0]}@sha256:" in images
    assert "<td>unused</td><td>local</td>" in volumes
    assert re.search(r"<td>kept</td><td>local</td><td>[^<]+</td><td>[1-9]", volumes)
    assert "needle" not in text


def test_a_service_shows_what_its_tasks_used_lately(cluster: Cluster) -> None:
    """A minute after the first of them began at the latest."""
    cookie = signed_in(cluster, "reader")

    def lines() -> int:
        text = page(cluster, "/service/web", cookie)
        return text.count("<polyline") if "Memory: " in text else 0

    cluster.wait(lambda: lines() >= 4, WAIT_S, "figures")
