"""What the kernel and libc offer and Python 3.11 has no function for; each call raises OSError.

`libc.py` holds the only handle of libc; the other modules are one subject each: `processes`,
`namespaces`, `mounting`, `paths`, `credentials`, `filters` (seccomp), `bpf`, `memory`. Of the
standard library only, and loadable under `python -I -S`, for the supervisor and the runtime.
Everything is looked up when a module is loaded, so that nothing is imported or resolved later, in a
child or inside a container. It knows nothing of containers: no defaults, no policy.
"""
