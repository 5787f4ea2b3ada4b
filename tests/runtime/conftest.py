"""Fixtures of the runtime's tests; they live in rt_harness.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rt_harness import busybox_root, containers, supervisor, supervisor_dir, swept

__all__ = ["busybox_root", "containers", "supervisor", "supervisor_dir", "swept"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = None
    if os.geteuid() != 0:
        reason = "needs root"
    elif not Path("/bin/busybox").exists():
        reason = "needs /bin/busybox (apt install busybox-static)"
    for item in items:
        if reason and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))
