"""`python -m swarmlite.agent --state-dir D --run-dir R [--cgroup-parent PATH]`."""

from __future__ import annotations

import asyncio
import logging
import sys

from swarmlite.agent.config import parse_arguments
from swarmlite.agent.process import run_until_signalled
from swarmlite.errors import SwarmliteError


def main() -> int:
    """Run until a signal; 1 with one line on stderr when the agent cannot begin."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
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
