"""Unpacks one layer into a directory, in a process of its own, with the standard library only.

Owns everything that touches what an archive's author wrote: decompression, tar, paths, links,
devices, extended attributes, whiteouts. Never writes outside of the directory it was given: each
path is walked by the kernel with openat2(RESOLVE_IN_ROOT).
"""
