"""What a shell is told when it completes a command, with names from a manager's real API."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from api_world import Manager, node, service_spec

from swarmlite.proto.control_pb2 import CreateServiceRequest
from swarmlite.proto.control_pb2_grpc import ControlStub

pytestmark = pytest.mark.timeout(600)  # each command is a process of its own


async def completed(folder: Path, line: str) -> list[str]:
    """As click's script for bash asks, at the end of a line."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "_SWARMLITE_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "SWARMLITE_RUN_DIR": str(folder),
        "SWARMLITE_STATE_DIR": str(folder / "state"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarmlite.cli", env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return [text.partition(",")[2] for text in out.decode().splitlines() if text]


@pytest.fixture
async def folder(manager: Manager, control: ControlStub, socket_path: Path) -> Path:
    for name in ("web", "worker", "db"):
        await control.CreateService(CreateServiceRequest(spec=service_spec(name)))
    manager.put(node("n1", ready=True), node("n2", ready=True))
    return socket_path.parent


async def test_names_commands_and_flags_are_completed(folder: Path) -> None:
    assert await completed(folder, "swarmlite service rm w") == ["web", "worker"]
    assert await completed(folder, "swarmlite service logs d") == ["db"]
    assert await completed(folder, "swarmlite node update ") == ["host-n1", "host-n2"]
    assert await completed(folder, "swarmlite service ro") == ["rollback"]
    flags = await completed(folder, "swarmlite service ps --no")
    assert sorted(flags) == ["--no-resolve", "--no-trunc"]


async def test_where_no_manager_answers_nothing_is_completed(tmp_path: Path) -> None:
    assert await completed(tmp_path, "swarmlite service rm w") == []
