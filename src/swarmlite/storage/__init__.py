"""What containers are made from, and what outlives them, on one host's disk.

Owns the images directory (`images`) and the volumes directory (`volumes`). It knows nothing of
containers, tasks and services, runs nothing of an image, and never talks to a manager.

Nothing is imported here, because the processes that unpack layers and fill volumes start with the
standard library only.
"""
