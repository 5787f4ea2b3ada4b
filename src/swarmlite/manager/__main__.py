"""`python -m swarmlite.manager --state-dir D --run-dir R`."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator

from swarmlite import logs
from swarmlite.errors import SwarmliteError
from swarmlite.manager.process import parse_arguments, run_until_signalled

GC_THRESHOLDS = (10_000, 50, 50)
"""The objects of a burst live on in the store: to look for garbage among them often finds none, and
each full collection stops the API for as long as it takes."""


def main() -> int:
    """Run until a signal; 1 with one line on stderr when the manager cannot go on."""
    logs.begin()
    gc.freeze()  # what the imports made is never garbage
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        asyncio.run(run_until_signalled(parse_arguments()))
    except* SwarmliteError as group:
        for error in _leaves(group):
            print(f"swarmlite manager: {error}", file=sys.stderr)
        failed = True
    else:
        failed = False
    return int(failed)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


if __name__ == "__main__":
    sys.exit(main())
