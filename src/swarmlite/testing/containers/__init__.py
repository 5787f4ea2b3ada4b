"""Clusters whose hosts are privileged containers of a Docker engine: several nodes in any CI.

`DockerCluster` is that cluster, over testcontainers and Docker's API, so the engine may be one on
another machine, and one of ours. `image` makes the hosts' image of deploy/Dockerfile, `host` is one
host, `stream` runs commands in it, `forward` brings its sockets here, `leading` chooses the engine.
It owns what it makes and removes it; testcontainers' reaper does where this process is killed. It
makes nothing on this machine but a folder of sockets, and needs no root.
"""

from __future__ import annotations

from .cluster import DockerCluster

__all__ = ["DockerCluster"]
