"""The fixtures of the image tests; image_world.py makes them."""

from image_world import outside, registry, store

__all__ = ["outside", "registry", "store"]
