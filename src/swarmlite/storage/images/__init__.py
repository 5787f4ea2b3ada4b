"""Images of one host: pulled from registries or loaded from tars, unpacked into overlay layers.

Owns the images directory (see `store.ImageStore`): manifests and configs by digest, layers unpacked
by chain id, `images.json`. Hands out directories for overlayfs, topmost first. It never mounts,
never runs anything of an image, and knows nothing of containers, tasks or services; who uses an
image is passed to it when one is removed. One process at a time may use a directory.

Layers are unpacked by a process of its own (`unpack`), so that decompression, hashing and hostile
archives stay outside of the agent; nothing is imported here, because that process starts with the
standard library only.
"""
