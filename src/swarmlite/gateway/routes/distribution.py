"""The endpoints of distribution."""

from __future__ import annotations

from swarmlite.gateway.app import Route

ROUTES: list[Route] = []
