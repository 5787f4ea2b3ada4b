"""`swarm unlock`, as a one-shot: brings a manager's keys to their tmpfs (identity.lock)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from swarmlite.errors import PermissionDenied
from swarmlite.identity.lock import KeyLock
from swarmlite.paths import Paths

from . import oneshot


async def unlock(
    paths: Paths, request: Mapping[str, Any], progress: oneshot.Progress
) -> dict[str, Any]:
    """With request["key"]; {"wrong": true} for a key that does not open. Raises as KeyLock."""
    try:
        KeyLock(paths).unlock(str(request.get("key") or ""))
    except PermissionDenied:
        return {"wrong": True}
    return {}


if __name__ == "__main__":
    os.umask(0o077)
    oneshot.main(unlock)
