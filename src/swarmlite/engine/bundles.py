"""What is written for the runtime: a running container's OCI spec and its files of /etc.

Shape: RUN_DIR/bundles/<id>/ with config.json, hosts, hostname and resolv.conf, on a tmpfs: to make
and remove four files a run is a good part of a start on a disk's file system. It is bounded, for
containers may write to theirs; where no room is left they lie in the container's folder.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from swarmlite.engine.host_files import NAMES
from swarmlite.engine.records import Record
from swarmlite.kernel import durable, mounting

log = logging.getLogger(__name__)
T = TypeVar("T")
CONFIG = "config.json"
OPTIONS = b"mode=0700,size=64m"


def mount(root: Path) -> None:
    """Have a tmpfs at `root`, unless an earlier start did; a folder does where none is to be had.

    Raises OSError.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.is_mount():
        return
    flags = mounting.MS_NOSUID | mounting.MS_NODEV | mounting.MS_NOEXEC
    try:
        mounting.mount(b"tmpfs", os.fsencode(root), b"tmpfs", flags, OPTIONS)
    except OSError as error:
        log.warning("bundles are not on a tmpfs path=%s error=%s", root, error)


def put(record: Record, write: Callable[[Path], T]) -> T:
    """`write` to the bundle's folder; where that is full, to the container's. Raises OSError."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(record.bundle, 0o700)  # noqa: PTH102
        return write(record.bundle)
    except OSError as error:
        if record.bundle == record.folder or not durable.is_full(error):
            raise
        remove(record.bundle, CONFIG)  # half of it would be taken for the whole
        return write(record.folder)


def write_spec(spec: Mapping[str, Any], folder: Path) -> Path:
    """config.json; the folder. Raises OSError."""
    data = json.dumps(spec, separators=(",", ":")).encode()
    fd = os.open(f"{folder}/{CONFIG}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    return folder


def remove(folder: Path, *names: str) -> None:
    """Files that are there. Raises OSError."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{folder}/{name}")  # noqa: PTH108


def discard(bundle: Path) -> None:
    """The folder of a run, which is not the container's; safe to repeat. Raises OSError."""
    remove(bundle, CONFIG, *NAMES)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(bundle)  # noqa: PTH106


def of(record: Record) -> Path:
    """Where a running container's config.json is."""
    there = os.path.exists(f"{record.bundle}/{CONFIG}")  # noqa: PTH110
    return record.bundle if there else record.folder


def read_spec(bundle: Path) -> dict[str, Any]:
    """The OCI spec of a bundle; empty when it is gone."""
    try:
        spec = json.loads((bundle / CONFIG).read_bytes())
    except (OSError, ValueError):
        return {}
    return spec if isinstance(spec, dict) else {}


def process_spec(bundle: Path) -> Mapping[str, Any]:
    """Its `process`, which is not to be changed: many execs and probes ask for the same one."""
    try:
        status = os.stat(f"{bundle}/{CONFIG}")  # noqa: PTH116
    except OSError:
        return {}
    return _process(bundle, status.st_ino, status.st_mtime_ns)


@functools.lru_cache(64)
def _process(bundle: Path, inode: int, written_ns: int) -> Mapping[str, Any]:
    process = read_spec(bundle).get("process", {})
    return process if isinstance(process, dict) else {}
