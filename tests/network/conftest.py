"""The fixtures of the network tests; network_world.py makes them."""

from network_world import threads, world

__all__ = ["threads", "world"]
