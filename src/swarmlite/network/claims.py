"""Bridges' ports and whose they are: one that no sandbox has is taken away."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Collection

from swarmlite.network import netlink

Claims = Callable[[], Collection[str]]
"""The ports of all sandboxes that are there or being made, as they are when it is called."""
PREFIX = "sl"
"""Of the names of sandboxes' ports, on every kind of bridge."""


def port_name() -> str:
    """A name for a port of a sandbox, that no other has."""
    return f"{PREFIX}{secrets.token_hex(5)}"


class Unclaimed:
    """Of one bridge: the ports that no sandbox had when they were looked at last.

    The kernel lets a namespace go once its last connection has ended: of a container that was
    killed while its peer was away, two minutes later.
    """

    def __init__(self) -> None:
        self._before = frozenset[str]()

    def let_go(self, channel: netlink.Socket, bridge: int, claims: Claims) -> None:
        """Delete those that nobody had at two looks in a row. Raises OSError.

        Two: nearly all go with their namespaces in a moment, many at once, which costs less.
        """
        links = channel.links()
        claimed = claims()  # after the look: whatever is there by then was claimed before it
        found = frozenset(
            name
            for name, link in links.items()
            if link.master == bridge and name.startswith(PREFIX) and name not in claimed
        )
        gone = [netlink.delete_link(links[name].index) for name in found & self._before]
        channel.send(gone, ignore=[errno.ENODEV])
        self._before = found
