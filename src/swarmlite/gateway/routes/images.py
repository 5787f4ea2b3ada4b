"""The endpoints of images."""

from __future__ import annotations

from swarmlite.gateway.app import Route

ROUTES: list[Route] = []
