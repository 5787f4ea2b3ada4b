"""The Control service: what users ask of the cluster, on any manager.

One file an object; each reads the store's view and writes compared transactions. It checks and
completes what users send, and never decides where or when something runs: the loops do.
"""

from .service import ControlService

__all__ = ["ControlService"]
