"""Who was heard so far, and what is to be sent next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from swarmlite.network.checking.frames import SMALL, Frame

FULL_ROUNDS = 10
"""So often the full size is tried before the largest that gets through is looked for."""
TRIES = 3
"""Rounds in which a size is not heard of before it counts as lost."""


@dataclass
class _Peer:
    heard: int = 0
    seen: int = 0
    """What it says that it has heard from here."""
    rounds: int = 0
    tries: int = 0
    trying: int = 0
    lost: int = 0
    """The smallest size that counts as lost; 0: none does."""


class Exchange:
    """One node's side of a check."""

    def __init__(self, me: int, peers: Iterable[int], full: int) -> None:
        """`full`: the network's own size."""
        self._me, self.full = me, full
        self._peers = {number: _Peer() for number in peers}

    def round(self) -> Iterator[Frame]:
        """What is to be sent now."""
        for number, peer in self._peers.items():
            yield Frame(self._me, number, SMALL, peer.heard)
            if peer.seen < self.full:
                yield Frame(self._me, number, self._size(peer), peer.heard)

    def _size(self, peer: _Peer) -> int:
        peer.rounds += 1
        if not peer.seen or peer.rounds <= FULL_ROUNDS:
            return self.full
        if peer.seen >= peer.trying:
            peer.trying = peer.tries = 0
        elif peer.tries >= TRIES:
            peer.lost, peer.trying, peer.tries = peer.trying, 0, 0
        if not peer.trying:
            peer.trying = (peer.seen + (peer.lost or self.full) + 1) // 2
        peer.tries += 1
        # Once it is found the full size is tried for as long as the check lasts: it may be mended.
        return peer.trying if peer.trying < (peer.lost or self.full) else self.full

    def heard(self, frame: Frame) -> bool:
        """Take a frame in; whether it says anything new."""
        peer = self._peers.get(frame.sender)
        if peer is None or frame.receiver != self._me:
            return False
        news = frame.size > peer.heard or frame.seen > peer.seen
        peer.heard, peer.seen = max(peer.heard, frame.size), max(peer.seen, frame.seen)
        return news

    def heard_from(self, number: int) -> int:
        """The largest packet of a node that came; 0: none."""
        return self._peers[number].heard

    def silent(self) -> list[int]:
        """Those of whom nothing was heard."""
        return [number for number, peer in self._peers.items() if not peer.heard]

    def unheard(self) -> list[int]:
        """Those who have not said that they hear this node."""
        return [number for number, peer in self._peers.items() if not peer.seen]
