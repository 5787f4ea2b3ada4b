"""What something costs: by the clock, and of the processor by the daemons that do it.

The latter tells on a machine that others work on too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Spent:
    """Seconds."""

    clock_s: float = 0.0
    cpu_s: float = 0.0


@contextmanager
def spending(daemons: Callable[[], Iterable[int]]) -> Iterator[Spent]:
    """Counted from here to the end of the block; `daemons` says whose processor time counts."""
    spent, first, began = Spent(), cpu_s(daemons()), time.perf_counter()
    yield spent
    spent.clock_s = time.perf_counter() - began
    spent.cpu_s = cpu_s(daemons()) - first


def cpu_s(pids: Iterable[int]) -> float:
    """Of processes and of their children that have ended."""
    ticks = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:  # it ended, and counts as a child
            continue
        ticks += sum(map(int, text.rpartition(")")[2].split()[11:15]))
    return ticks / _TICKS
