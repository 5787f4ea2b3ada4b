"""Bridges' ports and whose they are: one that no sandbox has is taken away."""

from __future__ import annotations

import errno
import logging
import re
import secrets
from collections.abc import Callable, Collection, Mapping

from swarmlite.errors import reason
from swarmlite.network import netlink

log = logging.getLogger(__name__)
Claims = Callable[[], Collection[str]]
"""The ports of all sandboxes that are there or being made, as they are when it is called."""
_OURS = re.compile(r"sl[0-9a-f]{10}")
"""What `port_name` makes: a bridge that somebody else made may have others' ports too, as sl0."""


def port_name() -> str:
    """A name for a port of a sandbox, that no other has."""
    return f"sl{secrets.token_hex(5)}"


class Unclaimed:
    """Of one bridge: the ports that no sandbox had when they were looked at last.

    The kernel lets a namespace go once its last connection has ended: of a container that was
    killed while its peer was away, two minutes later.
    """

    def __init__(self) -> None:
        self._before = frozenset[str]()
        self._kept = frozenset[str]()
        """What the kernel would not delete at the last look: told once."""

    def let_go(
        self,
        channel: netlink.Socket,
        links: Mapping[str, netlink.Link],
        bridge: int,
        claims: Claims,
    ) -> None:
        """Delete those that nobody had at two looks in a row. `links`: what there is now.

        Two: nearly all go with their namespaces in a moment, many at once, which costs less. One
        that the kernel keeps stops neither the others nor what its caller repairs next.
        """
        claimed = claims()  # after the look: whatever is there by then was claimed before it
        found = frozenset(
            name
            for name, link in links.items()
            if link.master == bridge and _OURS.fullmatch(name) and name not in claimed
        )
        gone, self._before = found & self._before, found
        try:
            messages = [netlink.delete_link(links[name].index) for name in gone]
            channel.send(messages, ignore=[errno.ENODEV])
        except OSError as error:
            if gone - self._kept:
                log.warning("ports stay ports=%s error=%s", ",".join(sorted(gone)), reason(error))
            self._kept = gone
        else:
            self._kept = frozenset()
