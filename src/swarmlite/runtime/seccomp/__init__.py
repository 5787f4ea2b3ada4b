"""Seccomp filters: which system calls a container may make.

`data/default.json` is our own list with its reasons, `data/syscalls.json` the calls' numbers by
architecture, `profile.py` reads the list or an OCI `linux.seccomp` into rules, `compile.py` makes a
binary search tree of BPF of them, `cache.py` does so once a profile. No libseccomp.
"""
