"""A chain for the user's own rules, which swarmlite makes and never changes.

Every packet that is forwarded passes it before swarmlite's own table, translated already: what it
drops is dropped. It is a table of its own, so that ours may be loaded again without touching it.
"""

from __future__ import annotations

from swarmlite.errors import FailedPrecondition
from swarmlite.network import nft

TABLE, CHAIN = "inet swarmlite-user", "forward"
_MADE = f"""add table {TABLE}
add chain {TABLE} {CHAIN} {{ type filter hook forward priority -10; policy accept; }}
"""
_EMPTY_LINES = 5
"""Of the table as nft shows it with nothing in the chain: two heads, the hook, two ends."""


def offer() -> None:
    """Make the chain where it is not; rules that are in it stay. Raises FailedPrecondition."""
    nft.run(_MADE)


def withdraw() -> None:
    """Take it away if nobody has put anything into it; safe without it."""
    try:
        shown = nft.ask(f"list table {TABLE}")
    except FailedPrecondition:
        return
    if len(shown.strip().splitlines()) <= _EMPTY_LINES:
        nft.run(f"delete table {TABLE}\n")
