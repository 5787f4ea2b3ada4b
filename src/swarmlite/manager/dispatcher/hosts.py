"""Whether the host of a node whose stream ended lives: its kernel answers, with a refusal too.

An agent that was killed or upgraded leaves a host that runs on, and containers with it, which must
not be replaced because a busy host starts the agent slowly. A host without power answers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

PORT = 2377
"""Of the managers; on workers nobody listens there, and their kernel says so."""
TIMEOUT_S = 1.0
AT_ONCE = 64


async def alive(
    addresses: Iterable[tuple[str, str]], timeout_s: float = TIMEOUT_S
) -> Collection[str]:
    """The ids, of pairs of a node's id and its IP address, whose hosts answer in time."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(node_id: str, address: str) -> str:
        async with slots:
            return node_id if await _answers(address, timeout_s) else ""

    asked = [ask(node_id, address) for node_id, address in addresses if address]
    return set(await asyncio.gather(*asked)) - {""}


async def _answers(address: str, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(address, PORT)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
