"""`python -m swarmlite.manager --state-dir D --run-dir R`."""

from __future__ import annotations

import asyncio
import logging
import sys

from swarmlite.errors import SwarmliteError
from swarmlite.manager.process import parse_arguments, run_until_signalled


def main() -> int:
    """Run until a signal; 1 with one line on stderr when the manager cannot go on."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(run_until_signalled(parse_arguments()))
    except* SwarmliteError as group:
        for error in group.exceptions:
            print(f"swarmlite manager: {error}", file=sys.stderr)
        return_code = 1
    else:
        return_code = 0
    return return_code


if __name__ == "__main__":
    sys.exit(main())
