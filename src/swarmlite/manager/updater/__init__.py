"""Rolling updates: which outdated places are replaced now, and when an update stops or is done.

All of it is read from the store (the update's status, the tasks' versions, creation and states),
so a new leader goes on where the old one was, and a newer update cancels an older one by being
the service's spec. It decides for the orchestrators and writes nothing by itself.
"""

from .advance import advance

__all__ = ["advance"]
