"""The Docker API's JSON of our objects: its key names, units and enum words. Pure.

Here objects are written, in `reading/` they are read. One file an object: `container.py` (with
`hostconfig.py`, `mounts.py`, `ports.py`), `network.py`, `volume.py`, `image.py`, `event.py` of a
host; `cluster.py`, `services.py`, `containerspec.py` of a swarm. The shapes are those of API
version 1.51; what an older client expects, the gateway adds and takes away, and what it is not
heard on stands in `reading/containerversions.py` and `serviceversions.py`. They call nobody.
Secrets' data never comes out of here.
"""
