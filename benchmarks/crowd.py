"""How fast 1,000 containers start on one node, against 100: without a network, for an overlay's
subnet of 254 addresses is too small."""

from __future__ import annotations

from .replicas import cycle
from .swarmlite_host import SwarmliteHost
from .table import Row, spread_row

FEW, MANY = 100, 1000
TURNS = 3


def measure(ours: SwarmliteHost) -> list[Row]:
    """A hundred, three times; then a thousand: a bridge of the kernel has 1,023 ports."""
    few = [cycle(ours, ours.image, f"few-{n}", replicas=FEW).up for n in range(TURNS)]
    many = [cycle(ours, ours.image, "many", replicas=MANY).up]
    return [spread_row(f"rate of {MANY} replicas, against {FEW}", "/s", many, few, at_least=0.8)]
