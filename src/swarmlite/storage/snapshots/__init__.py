"""Snapshots: the file systems of containers, each a writable layer over the layers of an image.

`types` holds the contract and what it hands out; `overlay` keeps the difference in a folder for
overlayfs, `copying` a whole tree where overlayfs is not to be had. Nothing is imported here.
"""
