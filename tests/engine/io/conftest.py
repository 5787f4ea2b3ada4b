"""Fixtures of the streams' tests: the runtime's, for a real supervisor."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[2] / "runtime"
if str(RUNTIME) not in sys.path:
    sys.path.insert(0, str(RUNTIME))

from rt_harness import busybox_root, containers, supervisor, supervisor_dir  # noqa: E402

__all__ = ["busybox_root", "containers", "supervisor", "supervisor_dir"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = None
    if os.geteuid() != 0:
        reason = "needs root"
    elif not Path("/bin/busybox").exists():
        reason = "needs /bin/busybox (apt install busybox-static)"
    for item in items:
        if reason and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))
