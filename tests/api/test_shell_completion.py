"""What a shell is told when it completes a command, with names from a manager's real API."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from api_world import Manager, node, service_spec

from swarmlite.proto.control_pb2 import CreateServiceRequest
from swarmlite.proto.control_pb2_grpc import ControlStub

pytestmark = pytest.mark.timeout(600)  # each command is a process of its own


async def completed(folder: Path, line: str, *, kinds: bool = False) -> list[str]:
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
    lines = [text for text in out.decode().splitlines() if text]
    return lines if kinds else [text.partition(",")[2] for text in lines]


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


async def test_values_of_flags_tasks_and_files_are_completed(
    folder: Path, manager: Manager, control: ControlStub
) -> None:
    from swarmlite.model import task_states
    from swarmlite.proto.control_pb2 import CreateNetworkRequest, CreateSecretRequest
    from swarmlite.proto.objects_pb2 import Task

    secret = CreateSecretRequest()
    secret.spec.annotations.name, secret.spec.data = "key", b"x"
    await control.CreateSecret(secret)
    network = CreateNetworkRequest()
    network.spec.annotations.name, network.spec.driver.name = "front", "overlay"
    await control.CreateNetwork(network)
    one = Task(id="t1", service_id="s1", slot=1, desired_state=task_states.RUNNING)
    one.service_annotations.name = "web"
    manager.put(one)
    assert await completed(folder, "swarmlite service update --secret-add ") == ["key"]
    assert "front" in await completed(folder, "swarmlite service create --network f")
    assert await completed(folder, "swarmlite exec we") == ["web.1"]
    assert await completed(folder, "swarmlite port-forward ") == ["web.1"]
    file = await completed(folder, "swarmlite stack deploy -c comp", kinds=True)
    assert file == ["file,comp"]


START = {
    "bash": (["bash", "--norc", "-i"], "source <(swarmlite completion bash)"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "autoload -U compinit; compinit -u -D; source <(swarmlite completion zsh)",
    ),
    "fish": (["fish", "--no-config", "-i"], "swarmlite completion fish | source"),
}


@pytest.mark.parametrize("shell", START)
async def test_a_real_shell_completes_names_and_flags(shell: str, folder: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    await asyncio.to_thread(typed, *START[shell], folder)


def typed(command: list[str], setup: str, folder: Path) -> None:
    """On a terminal, with the key Tab; returns once the shell has written what was missing."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 40, 160, 0, 0))
    environment = {
        **{key: os.environ[key] for key in ("LANG",) if key in os.environ},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "TERM": "dumb",
        "SWARMLITE_RUN_DIR": str(folder),
        "SWARMLITE_STATE_DIR": str(folder / "state"),
    }
    process = subprocess.Popen(
        ["setsid", "--ctty", *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        cwd=folder,
    )
    os.close(theirs)
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(ours, 65536)
        shown = shown.partition(text)[2]

    try:
        os.write(ours, f"{setup}; echo rea''dy\n".encode())
        until(b"ready")
        os.write(ours, b"swarmlite service rm wo\t")
        until(b"rker")
        os.write(ours, b"\x15swarmlite service ps --no-tr\t")
        until(b"unc")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        os.close(ours)
