"""One-shot processes: what the daemon does not do itself, because it imports gRPC or takes long.

`python -m swarmlite.node.NAME --state-dir D --run-dir R` reads the request as JSON from standard
input and answers in the lines of the daemon's socket: progress, and a last ok or error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from swarmlite.errors import FailedPrecondition, SwarmliteError
from swarmlite.paths import Paths

Progress = Callable[[str], None]
Work = Callable[[Paths, Mapping[str, Any], Progress], Awaitable[dict[str, Any]]]


async def run(
    name: str, paths: Paths, request: Mapping[str, Any], progress: Progress
) -> dict[str, Any]:
    """In the daemon: run the one-shot and relay it. Raises FailedPrecondition with its line.

    When cancelled, the process is killed; what it prepared is removed by the next attempt.
    """
    command = [sys.executable, "-m", f"swarmlite.node.{name}"]
    log = paths.logs_dir / f"{name}.log"
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            f"--state-dir={paths.state_dir}",
            f"--run-dir={paths.run_dir}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(dict(request)).encode())
        process.stdin.close()
        async for line in process.stdout:
            answer = json.loads(line)
            if "ok" in answer:
                return dict(answer["ok"])
            if "error" in answer:
                raise FailedPrecondition(answer["error"])
            progress(answer["progress"])
        raise FailedPrecondition(f"{name} ended without an answer; see {log}")
    finally:
        if process.returncode is None:
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except (TimeoutError, asyncio.CancelledError):
                process.kill()
                await process.wait()


def main(work: Work) -> None:
    """In the one-shot: parse, work, answer."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    parser = argparse.ArgumentParser()
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    options = parser.parse_args()
    paths = Paths(options.state_dir, options.run_dir)
    request = json.load(sys.stdin)

    def say(message: Mapping[str, Any]) -> None:
        print(json.dumps(message), flush=True)

    try:
        say(
            {"ok": asyncio.run(_worked(work(paths, request, lambda line: say({"progress": line}))))}
        )
    except SwarmliteError as error:
        say({"error": str(error)})
        sys.exit(1)


async def _worked(result: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    return await result
