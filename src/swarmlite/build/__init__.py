"""Dockerfiles to images, through engine and storage.

`dockerfile` reads a Dockerfile, whole, and says all that is wrong with it at once. `building` makes
an image of one: `stage` goes through a stage's instructions (`instructions/`), each of which makes
a layer or changes the configuration; `cache` remembers which layer a step made. RUN goes through
the engine (`engine/transients.py`), files through descriptors below their roots: nothing of a
context or of an image is ever run, loaded or followed on the host. `service` answers clients.
"""
