"""swarmlite-runtime: the script's entrance to `swarmlite.runtime.command`."""

from __future__ import annotations

from swarmlite.runtime.command.__main__ import main

__all__ = ["main"]
