"""5,000 agents that only say that they are there: what the manager takes of a core. Minutes."""

from __future__ import annotations

import time

from .simulated_swarm import SimulatedSwarm
from .table import Row, alone_row, median, spread_note

AGENTS, PROCESSES, ROUNDS = 5000, 5, 3
SETTLE_S, WINDOW_S = 15.0, 20.0


def measure() -> list[Row]:
    """Heartbeats every 5 s, by mTLS; nothing is asked of them."""
    with SimulatedSwarm(AGENTS, processes=PROCESSES) as swarm:
        time.sleep(SETTLE_S)
        shares = [swarm.share_of_a_core(WINDOW_S) for _ in range(ROUNDS)]
        memory, ready = swarm.memory_bytes(), swarm.ready()
    what = f"{AGENTS:,} idle agents: the manager's"
    if ready < AGENTS:
        what = f"({ready} of them ready: this machine is too slow for so many) {what}"
    return [
        alone_row(f"{what} CPU{spread_note(shares)}", "% of a core", median(shares), at_most=10),
        alone_row(f"{what} memory", "MB", memory / 1e6),
    ]
