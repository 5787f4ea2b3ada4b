"""The fixtures of these tests; what they are made of is in api_world."""

from __future__ import annotations

from api_world import agents, control, manager, socket_path

__all__ = ["agents", "control", "manager", "socket_path"]
