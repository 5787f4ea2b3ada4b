"""Loops that outlive whatever goes wrong in one of their turns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from swarmlite.errors import SwarmliteError

log = logging.getLogger(__name__)
PAUSE_S = 1.0
"""After a turn that failed: what fails at once does not fill the log."""


async def forever(what: str, turn: Callable[[], Awaitable[None]]) -> None:
    """`turn` over and over, ended by cancellation only; what it raises is logged."""
    while True:
        try:
            await turn()
        except (OSError, SwarmliteError) as error:
            log.error("%s failed: %s", what, error)
            await asyncio.sleep(PAUSE_S)
        except Exception:  # a mistake of ours must not freeze the wiring of the whole host
            log.exception("%s failed", what)
            await asyncio.sleep(PAUSE_S)
