"""Real clusters on one machine: hosts of namespaces, for tests, benchmarks, `swarmlite dev`.

`Cluster` brings hosts up, joined by veths and a bridge in a namespace of their own, each with its
own state directory and its own swarmlited; it cuts links, kills hosts and starts them again, and
collects what a failure needs. `DockerCluster` is the same swarm on hosts that are containers of
a Docker engine (see `containers/`). The pytest plug-in `plugin` gives both as fixtures. It owns
what it makes and removes it, also after an interruption; it changes nothing in the machine's own
network but one veth, by which the machine reaches the hosts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster import Cluster
    from .containers import DockerCluster
    from .host import CommandFailed, Host

__all__ = ["Cluster", "CommandFailed", "DockerCluster", "Host"]
_PLACES = {
    "Cluster": ".cluster",
    "CommandFailed": ".host",
    "DockerCluster": ".containers",
    "Host": ".host",
}


def __getattr__(name: str) -> object:
    """Loaded when asked for: pytest loads the plug-in in every run, and gRPC is not for all."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
