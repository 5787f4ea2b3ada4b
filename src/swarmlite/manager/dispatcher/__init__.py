"""The dispatcher: agents' sessions, heartbeats, assignments down and statuses up.

`assignments`, `liveness` and `reports` decide, without I/O; `service` is the streams and `loop`
what drives them. It owns the observed state of nodes and hands on that of tasks; it never decides
what should run where. Any manager serves sessions, from its own view of the store.
"""

from .loop import Dispatcher
from .service import DispatcherService

__all__ = ["Dispatcher", "DispatcherService"]
