"""swarmlite-supervisor: the one parent of a node's containers.

It holds what dies with a parent: pids, exit codes, stdio, log files, consoles, kept descriptors.
Single-threaded, of the standard library only, it forks (nothing else here does) and outlives the
daemon. `server.py` is the loop, `launch.py` the parent's side of a start, `child.py` what children
do, `rootfs.py` the mounts, `execs.py` what joins a running container, `output.py` who gets what a
container writes. It never resolves a name or an image, talks to no host but the log servers of its
containers, and never decides to restart anything.
"""
