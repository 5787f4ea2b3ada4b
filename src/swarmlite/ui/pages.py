"""The overview: the cluster as a picture."""

from __future__ import annotations

from aiohttp import web

from swarmlite.ui.server import Server
from swarmlite.ui.signing import Session


class Pages:
    """Handlers; `request["session"]` is who is signed in."""

    def __init__(self, server: Server) -> None:
        """`server` renders, and has the cluster."""
        self._server, self._cluster = server, server.cluster

    def add_to(self, router: web.UrlDispatcher) -> None:
        """The one."""
        router.add_get("/ui/", self.overview)

    async def overview(self, request: web.Request) -> web.Response:
        """Nodes with their tasks, and services."""
        session: Session = request["session"]
        view = await self._cluster.overview(session)
        return self._server.page("overview.html", session, view=view, error="")
