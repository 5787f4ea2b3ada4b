"""Overlays that no mount table shows: mounted in a namespace of a thread, held by a descriptor.

mount(2) takes options up to a page, where fsconfig(2) takes lowerdir= in 256 bytes only; but it
needs a place. So a thread mounts in a mount namespace of its own, clones the mount out of it
(open_tree) and ends. The mount lives as long as its descriptor, however this process ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarmlite.kernel import mounting, namespaces


@contextmanager
def overlay(options: str, place: Path, *, read_only: bool) -> Iterator[int]:
    """A descriptor of the root of an overlay; `place` is an empty directory. Raises OSError."""
    descriptor = _mount(os.fsencode(options), os.fsencode(place), read_only)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _mount(options: bytes, place: bytes, read_only: bool) -> int:
    result: list[int | OSError] = []

    def work() -> None:
        try:
            namespaces.unshare(namespaces.CLONE_NEWNS)
            mounting.mount(None, b"/", None, mounting.MS_REC | mounting.MS_PRIVATE)
            flags = mounting.MS_NOSUID | mounting.MS_NODEV
            flags |= mounting.MS_RDONLY if read_only else 0
            mounting.mount(b"overlay", place, b"overlay", flags, options)
            tree = mounting.open_tree(mounting.AT_FDCWD, place, mounting.OPEN_TREE_CLONE)
            result.append(tree)
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=work, name="storage-mount")
    thread.start()
    thread.join()
    outcome = result[0]
    if isinstance(outcome, OSError):
        raise outcome
    return outcome
