"""swarmlite-runtime: the runtime as an OCI command line, as crun and runc have it.

Each command does its work in its own process, through the same library as the supervisor, and ends:
whoever called it (a containerd shim, a subreaper, a shell) is then the container's parent. What is
known of a container stands in `--root`, a directory each, under a lock; any number of commands may
run on one root at once. Standard library only, few imports: half of a start is the interpreter's.

`options.py` reads the words, `records.py` keeps the state, `create.py` and `child.py` make a
container, `execute.py` a further process, `lifecycle.py` does the rest.
"""
