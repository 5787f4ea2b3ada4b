"""Who got a blob from here: after two, others are sent to those, so that no node gives it to all.

Whoever is sent on gets it while it still comes there, and is sent on from there in turn: a tree of
nodes grows, in which each sends every byte twice at most.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from swarmlite.errors import ResourceExhausted
from swarmlite.proto.blobs_pb2 import BlobPeer

CHILDREN = 2
MAX_UPLOADS = 16
"""At once, of all blobs."""
REMEMBERED_S = 600.0
MAX_BLOBS = 4096


class Spread:
    """What this node gave, and to whom; one event loop's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._given: OrderedDict[str, dict[str, tuple[BlobPeer, float]]] = OrderedDict()
        self._uploads = 0

    def instead(self, digest: str, node_id: str, tried: Collection[str]) -> list[BlobPeer]:
        """The nodes to ask in this one's place; none where it is to be given from here."""
        since = self._clock() - REMEMBERED_S
        given = self._given.get(digest, {})
        if node_id in given:
            return []
        found = [
            peer for peer, when in given.values() if when > since and peer.node_id not in tried
        ]
        return found if len(found) >= CHILDREN else []

    @contextmanager
    def giving(self, digest: str, peer: BlobPeer) -> Iterator[None]:
        """While a blob is given to a node; it counts as having it from then on, if all went well.

        Raises ResourceExhausted where too much is given at once.
        """
        if self._uploads >= MAX_UPLOADS:
            raise ResourceExhausted(f"this node already serves {self._uploads} blobs at once")
        self._uploads += 1
        self._remember(digest, peer)
        try:
            yield
        except BaseException:
            self._given.get(digest, {}).pop(peer.node_id, None)
            raise
        finally:
            self._uploads -= 1

    def _remember(self, digest: str, peer: BlobPeer) -> None:
        given = self._given.setdefault(digest, {})
        self._given.move_to_end(digest)
        if peer.addr:
            given[peer.node_id] = peer, self._clock()
        while len(self._given) > MAX_BLOBS:
            self._given.popitem(last=False)
