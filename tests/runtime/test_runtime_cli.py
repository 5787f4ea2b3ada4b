"""The OCI command line, as crun's users would call it, with a supervisor of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rt_harness import Containers, connect


class Command:
    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *words: str | Path, code: int = 0) -> str:
        command = [sys.executable, "-c", "from swarmlite.runtime.cli import main; main()"]
        # A created container has our stdout: captured, it would be waited for.
        output = subprocess.DEVNULL if "create" in words else subprocess.PIPE
        done = subprocess.run(
            [*command, "--root", self.root, *words],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True,
            timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return (done.stdout or "") if code == 0 else done.stdout + done.stderr


@pytest.fixture
def runtime(tmp_path: Path) -> Command:
    return Command(tmp_path / "root")


async def test_run_prints_the_output_and_ends_with_the_exit_code(
    runtime: Command, containers: Containers
) -> None:
    cid, bundle = containers.bundle("sh", "-c", "echo hello; exit 3")
    assert "hello\n" in runtime("run", "--bundle", bundle, cid, code=3)
    assert not (runtime.root / "supervisor.sock").exists()  # it went with its last container


async def test_the_verbs_of_oci(runtime: Command, containers: Containers) -> None:
    cid, bundle = containers.bundle("sleep", "100")
    pid_file = bundle / "pid"
    runtime("create", "--bundle", bundle, "--pid-file", pid_file, cid)
    try:
        state = json.loads(runtime("state", cid))
        assert (state["status"], state["pid"]) == ("created", int(pid_file.read_text()))
        runtime("start", cid)
        assert cid in runtime("list")
        assert runtime("exec", cid, "hostname") == f"{cid}\n"
        assert "exit 4" not in runtime("exec", cid, "sh", "-c", "exit 4", code=4)
        runtime("kill", cid, "KILL")
        client = await connect(runtime.root / "supervisor.sock")
        await client.wait(cid)
        await client.close()
        assert json.loads(runtime("state", cid))["status"] == "stopped"
    finally:
        runtime("delete", "--force", cid)
    assert "no container" in runtime("state", cid, code=1)


async def test_errors_are_one_line(runtime: Command, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"ociVersion": "1.1.0", "root": 5}')
    for words, text in (
        (("run", "--bundle", tmp_path, "x"), "root: must be an object"),
        (("run", "--bundle", "/nosuch", "x"), "/nosuch/config.json: No such file"),
        (("kill", "x", "NOSUCH"), "there is no signal NOSUCH"),
    ):
        output = runtime(*words, code=1)
        assert text in output and output.count("\n") == 1
