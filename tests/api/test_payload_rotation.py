"""New versions of secrets and configs, made by the command line against a manager's real API."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from api_world import Manager

from swarmlite.proto.objects_pb2 import Service

pytestmark = pytest.mark.timeout(600)  # each command is a process of its own
FILE = """
services:
  web:
    image: web
    configs: [{{source: setting, target: /setting}}]
    secrets: [word, own]
configs:
  setting: {{content: "{setting}"}}
secrets:
  own: {{content: "{own}"}}
  word: {{external: true}}
"""


class CommandLine:
    """`swarmlite` as a process of its own, which finds the manager's socket in its directory."""

    def __init__(self, folder: Path, socket: str) -> None:
        self.folder = folder
        (folder / "run").mkdir()
        (folder / "run" / "manager.sock").symlink_to(socket)

    async def __call__(self, *words: str) -> str:
        places = ("--run-dir", str(self.folder / "run"), "--state-dir", str(self.folder / "state"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "swarmlite.cli", *places, *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    async def deploy(self, setting: str, own: str) -> str:
        file = self.folder / "compose.yml"
        file.write_text(FILE.format(setting=setting, own=own))
        return await self("stack", "deploy", "--resolve-image", "never", "-c", str(file), "shop")


@pytest.fixture
def swarmlite(control: object, socket_path: str, tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, socket_path)


def names(service: Service) -> tuple[list[str], list[str]]:
    container = service.spec.task.container
    assert [c.file.name for c in container.configs] == ["/setting"]
    assert [s.file.name for s in container.secrets] == ["word", "own"]
    return [c.config_name for c in container.configs], [s.secret_name for s in container.secrets]


async def test_other_data_is_another_version_and_the_same_data_changes_nothing(
    manager: Manager, swarmlite: CommandLine
) -> None:
    word = swarmlite.folder / "word"
    word.write_text("alpha")
    await swarmlite("secret", "create", "word", str(word))
    await swarmlite.deploy("one", "mine")
    [service] = manager.store.view.services
    assert names(service) == (["shop_setting"], ["word", "shop_own"])

    said = await swarmlite.deploy("two", "other")
    assert "Creating config shop_setting.v2" in said and "Creating secret shop_own.v2" in said
    [service] = manager.store.view.services
    assert names(service) == (["shop_setting.v2"], ["word", "shop_own.v2"])

    version = service.spec_version.index
    assert "Unchanged service shop_web" in await swarmlite.deploy("two", "other")
    # What was said before is there already.
    said = await swarmlite.deploy("one", "mine")
    assert "Creating" not in said
    [service] = manager.store.view.services
    assert names(service) == (["shop_setting"], ["word", "shop_own"])
    assert service.spec_version.index == version + 1
    await swarmlite("stack", "rm", "shop")
    assert len(manager.store.view.configs) == 0
    assert [s.spec.annotations.name for s in manager.store.view.secrets] == ["word"]


async def test_a_rotated_secret_leads_its_users_and_its_name_stands_for_the_newest(
    manager: Manager, swarmlite: CommandLine
) -> None:
    word = swarmlite.folder / "word"
    word.write_text("alpha")
    await swarmlite("secret", "create", "--label", "a=b", "word", str(word))
    await swarmlite.deploy("one", "mine")
    for number in (2, 3):
        word.write_text(f"omega{number}")
        said = await swarmlite("secret", "rotate", "-d", "word", str(word))
        assert said.splitlines()[0] == f"word.v{number}"
        assert "Updating service shop_web" in said
    [service] = manager.store.view.services
    assert names(service)[1] == ["word.v3", "shop_own"]
    newest = manager.store.view.secrets.named("word.v3")[0]
    assert newest.spec.data == b"omega3" and newest.spec.annotations.labels["a"] == "b"
    assert "Unchanged service shop_web" in await swarmlite.deploy("one", "mine")
    await swarmlite("config", "rotate", "-d", "shop_setting", str(word))
    [service] = manager.store.view.services
    assert names(service)[0] == ["shop_setting.v2"]
