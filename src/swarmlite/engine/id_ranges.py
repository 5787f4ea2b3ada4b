"""Ranges of user and group ids for containers with ids of their own: `--userns=auto`."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from swarmlite.errors import FailedPrecondition, InvalidSpec, ResourceExhausted
from swarmlite.proto.containers_pb2 import Container

AUTO = "auto"
SIZE = "auto:size="
DEFAULT_COUNT = 65536
MIN_COUNT, MAX_COUNT = 1024, 1 << 24
FIRST, LAST = 1 << 30, (1 << 31) - 1
"""Above what distributions give out by subuid(5), below what the kernel takes for negative."""
PROBE_TIMEOUT_S = 30.0


def is_auto(mode: str) -> bool:
    """Whether a userns mode asks for ids of the container's own."""
    return mode == AUTO or mode.startswith(f"{AUTO}:")


def count_of(mode: str) -> int:
    """How many ids `auto` or `auto:size=N` asks for. Raises InvalidSpec."""
    if mode == AUTO:
        return DEFAULT_COUNT
    text = mode.removeprefix(SIZE)
    good = mode.startswith(SIZE) and text.isascii() and text.isdigit() and len(text) < 10
    if not good or not MIN_COUNT <= int(text) <= MAX_COUNT:
        raise InvalidSpec(
            f"--userns {mode[:60]!r}: expected auto or auto:size=N, N from {MIN_COUNT} to "
            f"{MAX_COUNT}"
        )
    return int(text)


def choose(count: int, others: Iterable[Container]) -> int:
    """The first id of a range that no other container has. Raises ResourceExhausted."""
    taken = sorted((o.first_id, o.first_id + o.id_count) for o in others if o.id_count)
    at = FIRST
    for begin, end in taken:
        if at + count <= begin:
            break
        at = max(at, end)
    if at + count > LAST:
        raise ResourceExhausted("no range of user ids is left for another container")
    return at


def check_host(store: Path) -> None:
    """Raise FailedPrecondition where this host cannot do it; asks once. Blocks."""
    if reason := _why_not(str(store)):
        raise FailedPrecondition(f"--userns=auto: {reason}")


@functools.cache
def _why_not(store: str) -> str:
    """Asked in a process of its own: it forks, which one that has used gRPC must not."""
    code = (
        "import sys; from swarmlite.runtime.idmap import why_no_overlay as w; print(w(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, store],
        check=False,
        capture_output=True,
        text=True,
        timeout=PROBE_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it could not be tried"])[-1]
    return done.stdout.strip()
