"""The Docker API's JSON of our objects: its key names, units and enum words. Pure.

One file an object: `container.py` (with `hostconfig.py`, `mounts.py`, `ports.py`), `network.py`,
`volume.py`, `image.py`, `event.py` of a host; `cluster.py`, `services.py`, `containerspec.py` of a
swarm. The shapes are those of API version 1.51. They call nobody and know no versions: who serves
the API adds and takes away what an older client expects. Secrets' data never comes in here.
"""
