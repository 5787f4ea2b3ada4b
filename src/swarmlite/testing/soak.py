"""The schedules of faults without end: round after round, each with a seed of its own.

`python -m swarmlite.testing.soak [--seed N] [--rounds N] [--at-once N] [PYTEST ARGUMENT...]`. A
round is pytest as swarmlite.testing.retry runs it, once, with its seed in SWARMLITE_CHAOS_SEEDS; it
is printed, and so is what plays the round again. The first failure ends the round and the command,
with exit code 1. Who interrupts it (SIGINT, SIGTERM) has 0, once the tests that ran have taken down
what they made. The first seed is chosen by chance where none is given.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
from collections.abc import Sequence

import pytest

from . import retry

SEEDS = "SWARMLITE_CHAOS_SEEDS"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m swarmlite.testing.soak", add_help=False)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--rounds", type=int, help="no end is the default")
    parser.add_argument("--at-once", type=int, default=1)
    options, rest = parser.parse_known_args(arguments)
    first = random.randrange(1, 10**6) if options.seed is None else options.seed
    for number in itertools.count() if options.rounds is None else range(options.rounds):
        seed = first + number
        print(f"round {number + 1}: {SEEDS}={seed}", flush=True)
        os.environ[SEEDS] = str(seed)
        codes, failed = retry.once(rest, options.at_once, first_failure=True)
        for test in failed:
            print(f"failed: {test}")
        if failed or codes - {pytest.ExitCode.OK, pytest.ExitCode.INTERRUPTED}:
            print(f"failed in round {number + 1}; again: make soak SEED={seed}")
            return 1
        if pytest.ExitCode.INTERRUPTED in codes:
            print(f"ended in round {number + 1}; nothing had failed")
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
