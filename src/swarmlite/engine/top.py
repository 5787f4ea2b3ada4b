"""The processes of a container, as ps(1) of this host shows them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from swarmlite.engine.records import Record
from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerState, TopResponse

TIMEOUT_S = 10.0
DEFAULT = ("-ef",)


def top(record: Record, arguments: Sequence[str]) -> TopResponse:
    """Blocks. Raises FailedPrecondition when it does not run, InvalidSpec for what ps refuses."""
    if record.state.status not in (ContainerState.RUNNING, ContainerState.PAUSED):
        raise FailedPrecondition(f"container {record.id} is not running")
    text = _ps([word for argument in arguments or DEFAULT for word in argument.split()])
    return parse(text, processes(record.id))


def processes(container_id: str) -> set[int]:
    """Those in the container's cgroup, and below it."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                groups = (entry / "cgroup").read_text()
                if f"/{container_id}" in groups:
                    found.add(int(entry.name))
    return found


def _ps(arguments: list[str]) -> str:
    try:
        done = subprocess.run(
            ["ps", *arguments],
            check=False,
            capture_output=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise FailedPrecondition("top needs the program ps on this host (procps)") from error
    except subprocess.TimeoutExpired as error:
        raise FailedPrecondition(f"ps took more than {TIMEOUT_S:g} s") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise InvalidSpec(f"ps {' '.join(arguments)}: {(lines or ['failed'])[0]}")
    return done.stdout.decode(errors="replace")


def parse(text: str, pids: set[int]) -> TopResponse:
    """The lines of `pids`. Raises InvalidSpec for an output without the column PID."""
    lines = text.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidSpec("Couldn't find PID field in ps output")
    column = titles.index("PID")
    response = TopResponse(titles=titles)
    for line in lines[1:]:
        fields = line.split(maxsplit=len(titles) - 1)
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            response.processes.add(fields=fields)
    return response
