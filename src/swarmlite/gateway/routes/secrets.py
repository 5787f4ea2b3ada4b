"""The endpoints of secrets. Their data comes in, and never goes out."""

from __future__ import annotations

from swarmlite.docker import cluster as docker
from swarmlite.docker.reading.payloads import secret_spec
from swarmlite.gateway.app import Route
from swarmlite.gateway.routes.payloads import Kind, routes

ROUTES: list[Route] = routes(
    Kind("secret", ("id", "label", "name", "names"), docker.secret, secret_spec)
)
