"""Which driver of snapshots a host uses: overlay, or copying where overlayfs is not to be had."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from swarmlite.errors import InvalidSpec
from swarmlite.kernel import durable, mounting
from swarmlite.storage import trees
from swarmlite.storage.snapshots import detached
from swarmlite.storage.snapshots.types import Root

OVERLAY, COPYING = "overlay", "copying"


def choose(images_dir: Path) -> str:
    """SWARMLITE_STORAGE_DRIVER, else what this store began with, else what is found by trying.

    Raises InvalidSpec for an unknown one, OSError for a disk that cannot be written.
    """
    for leftover in images_dir.glob(".probe-*"):
        trees.sweep(leftover)
    note = images_dir / "driver"
    named = os.environ.get("SWARMLITE_STORAGE_DRIVER", "")
    if named and named not in (OVERLAY, COPYING):
        raise InvalidSpec(f"SWARMLITE_STORAGE_DRIVER={named!r}: expected {OVERLAY} or {COPYING}")
    before = note.read_text().strip() if note.exists() else _older(images_dir)
    driver = named or before or (OVERLAY if works(images_dir) else COPYING)
    if driver != before or not note.exists():
        try:
            durable.write(note, driver.encode())
        except OSError as error:
            if not durable.is_full(error):  # with a full disk it is found again next time
                raise
    return driver


def _older(images_dir: Path) -> str:
    """A store from before there was a choice began with overlayfs."""
    layers = images_dir / "layers"
    return OVERLAY if layers.is_dir() and any(layers.iterdir()) else ""


def works(folder: Path) -> bool:
    """Whether an overlay can be mounted and written over directories of this disk.

    With a full disk nothing can be tried: then the kernel's word is taken for it.
    """
    try:
        return _tried(folder)
    except OSError as error:
        return durable.is_full(error) and mounting.has_filesystem("overlay")


def _tried(folder: Path) -> bool:
    """True; raises OSError where it does not work."""
    scratch = Path(tempfile.mkdtemp(prefix=".probe-", dir=folder))
    try:
        for name in ("a", "b", "upper", "work", "place"):
            (scratch / name).mkdir()
        root = Root("", (scratch / "a", scratch / "b"), scratch / "upper", scratch / "work")
        with detached.overlay(root.overlay, scratch / "place", read_only=False) as mounted:
            os.mkdir("x", dir_fd=mounted)
            os.rmdir("x", dir_fd=mounted)
        os.mknod(scratch / "whiteout", 0o020000, 0)
        os.setxattr(scratch / "a", "trusted.overlay.opaque", b"y")
    finally:
        trees.sweep(scratch)
    return True
