"""The endpoints of configs."""

from __future__ import annotations

from swarmlite.docker import cluster as docker
from swarmlite.docker.reading.payloads import config_spec
from swarmlite.gateway.app import Route
from swarmlite.gateway.routes.payloads import Kind, routes

ROUTES: list[Route] = routes(Kind("config", ("id", "label", "name"), docker.config, config_spec))
