"""This process' own terminal and standard streams, tied to a container's.

`keys.py` finds the keys that detach, `raw.py` puts a terminal into raw mode and back and says how
large it is, `streams.py` carries the bytes both ways, `forwarding.py` signals and sizes.
"""
