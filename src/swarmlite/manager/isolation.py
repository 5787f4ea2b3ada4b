"""What fails costs itself only: one object that breaks a loop's rules, one loop of many.

Everything here is served to all nodes and services by a few loops, which must not end for one of
them. These are the named places where any exception is caught; each is logged with its traceback.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

log = logging.getLogger(__name__)

FIRST_DELAY_S, LAST_DELAY_S = 0.5, 30.0
_P = ParamSpec("_P")
_T = TypeVar("_T")


def apart(
    kind: str, object_id: str, step: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T | None:
    """What `step` answers for one object; None when it raises, and the object is passed over."""
    try:
        return step(*args, **kwargs)
    except Exception:
        log.exception("passed over %s=%s", kind, object_id)
        return None


async def kept_up(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """Run `loop`, and again when it raises, ever later; ends when it returns or is cancelled."""
    delay_s = FIRST_DELAY_S
    while True:
        started = asyncio.get_running_loop().time()
        try:
            return await loop()
        except Exception:
            log.exception("%s failed and starts over", name)
        if asyncio.get_running_loop().time() - started > LAST_DELAY_S:
            delay_s = FIRST_DELAY_S
        await asyncio.sleep(delay_s)
        delay_s = min(2 * delay_s, LAST_DELAY_S)
