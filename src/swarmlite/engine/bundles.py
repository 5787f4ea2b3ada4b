"""What was written for the runtime, read again: a running container's OCI spec."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_spec(bundle: Path) -> dict[str, Any]:
    """The OCI spec of a bundle; empty when it is gone."""
    try:
        spec = json.loads((bundle / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return spec if isinstance(spec, dict) else {}


def process_spec(bundle: Path) -> Mapping[str, Any]:
    """Its `process`, which is not to be changed: many execs and probes ask for the same one."""
    try:
        status = os.stat(f"{bundle}/config.json")  # noqa: PTH116
    except OSError:
        return {}
    return _process(bundle, status.st_ino, status.st_mtime_ns)


@functools.lru_cache(64)
def _process(bundle: Path, inode: int, written_ns: int) -> Mapping[str, Any]:
    process = read_spec(bundle).get("process", {})
    return process if isinstance(process, dict) else {}
