"""How full connection tracking is: a host whose table is full drops every new connection."""

from __future__ import annotations

import logging

from swarmlite.network import netns

log = logging.getLogger(__name__)
FULL_SHARE = 0.9
COUNT, MOST = "netfilter/nf_conntrack_count", "netfilter/nf_conntrack_max"


class TrackedConnections:
    """Looked at from time to time, and told in the log once for each time that it fills."""

    def __init__(self) -> None:
        self._told = False

    def look(self) -> str:
        """A line for the node's warnings, empty while there is room. In the host's namespace."""
        count, most = netns.read_sysctl(COUNT), netns.read_sysctl(MOST)
        full = count.isdigit() and most.isdigit() and int(count) >= FULL_SHARE * int(most) > 0
        if not full:
            self._told = False
            return ""
        line = (
            f"connection tracking is nearly full, {count} of {most}: new connections will be"
            " dropped; raise net.netfilter.nf_conntrack_max"
        )
        if not self._told:
            log.warning("%s", line)
        self._told = True
        return line
