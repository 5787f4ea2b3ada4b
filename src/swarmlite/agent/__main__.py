"""`python -m swarmlite.agent --state-dir D --run-dir R [--cgroup-parent PATH]`."""

from __future__ import annotations

import asyncio
import gc
import sys

from swarmlite import logs
from swarmlite.agent.config import parse_arguments
from swarmlite.agent.process import run_until_signalled
from swarmlite.errors import SwarmliteError
from swarmlite.kernel import memory


def tune() -> None:
    """Settings of the interpreter and its C library that suit this process."""
    # What was imported lives as long as the process: collections need not look at it (a tenth of
    # the processor's time while a hundred containers start).
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    # A thread that comes back from the kernel waits so long for the loop's thread: at 5 ms a
    # sandbox's dozens of calls would take most of a second.
    sys.setswitchinterval(0.0005)
    # One pool of memory and not one a thread: what netlink and nftables took there stays there.
    memory.use_one_arena()


def main() -> int:
    """Run until a signal; 1 with one line on stderr when the agent cannot begin."""
    logs.begin()
    tune()
    try:
        asyncio.run(run_until_signalled(parse_arguments()))
    except SwarmliteError as error:
        print(f"swarmlite agent: {error}", file=sys.stderr)
        return 1
    except ExceptionGroup as group:
        known, unknown = group.split(SwarmliteError)
        if unknown is not None or known is None:
            raise
        for reason in known.exceptions:
            print(f"swarmlite agent: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
