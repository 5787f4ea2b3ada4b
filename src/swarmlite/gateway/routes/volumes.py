"""The endpoints of volumes."""

from __future__ import annotations

from swarmlite.gateway.app import Route

ROUTES: list[Route] = []
