"""swarmlite-supervisor: the one parent of a node's containers.

It holds what dies with a parent: pids, exit codes, stdio, log files, consoles, kept descriptors.
Single-threaded, of the standard library only, it forks (nothing else here does) and outlives the
daemon. `server.py` is the loop, `launch.py` the parent's side of a start, `child.py` and `steps.py`
the child's, `rootfs.py` the mounts, `execute.py` the joining of a running container. It never talks
to a network, never resolves an image, never decides to restart anything.
"""
