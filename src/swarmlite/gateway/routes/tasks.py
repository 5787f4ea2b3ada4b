"""The endpoints of tasks."""

from __future__ import annotations

from swarmlite.gateway.app import Route

ROUTES: list[Route] = []
