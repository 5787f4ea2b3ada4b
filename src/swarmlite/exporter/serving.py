"""The three documents, over HTTP."""

from __future__ import annotations

import ssl

from aiohttp import web

from swarmlite.exporter import node
from swarmlite.exporter.asking import Answer, Node
from swarmlite.exporter.exposition import text
from swarmlite.paths import Paths


class Documents:
    """What is answered."""

    def __init__(self, paths: Paths, processes: Node) -> None:
        """`processes` are asked at each request."""
        self._paths, self._processes = paths, processes

    def app(self) -> web.Application:
        """Nothing but GET and HEAD of three paths."""
        app = web.Application(client_max_size=0)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/healthz", self.health)
        app.router.add_get("/readyz", self.ready)
        return app

    async def metrics(self, request: web.Request) -> web.Response:
        """Of every process that answers; `swarmlite_up` says which do not."""
        answers = await self._processes.answers(only_ready=False)
        families = node.figures(self._paths, answers)
        for answer in answers:
            families.extend(answer.families)
        body, content_type = text(families, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def health(self, request: web.Request) -> web.Response:
        """200 while every process of the node answers; else 503."""
        answers = await self._processes.answers(only_ready=True)
        return _lines(answers, all(answer.up for answer in answers))

    async def ready(self, request: web.Request) -> web.Response:
        """200 while each can do its work: a session, a quorum; else 503."""
        answers = await self._processes.answers(only_ready=True)
        return _lines(answers, all(answer.ready for answer in answers))


def _lines(answers: list[Answer], good: bool) -> web.Response:
    lines = "".join(f"{answer.line}\n" for answer in answers)
    return web.Response(status=200 if good else 503, text=lines)


def tls(ca: str, cert: str, key: str) -> ssl.SSLContext:
    """For clients with a certificate of `ca` only. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ca)
    context.load_cert_chain(cert, key)
    return context
