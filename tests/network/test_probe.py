"""Probing this machine leaves nothing and names what is missing."""

from __future__ import annotations

from swarmlite.network import netns
from swarmlite.network.probe import probe


async def test_a_capable_host_gets_no_warning(threads: netns.Threads) -> None:
    """Each warning would be one line."""
    warnings = await threads.run(probe)
    assert warnings == [], "\n".join(warnings)
