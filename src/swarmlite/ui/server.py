"""The pages over HTTP: sign-in, and the rules that every answer keeps."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from swarmlite.errors import InvalidSpec, NotFound, PermissionDenied, SwarmliteError, Unavailable
from swarmlite.identity.subjects import USERS, subject_of
from swarmlite.paths import Paths
from swarmlite.ui.cluster import Cluster
from swarmlite.ui.live import LOOKING, Live
from swarmlite.ui.signing import COOKIE, SESSION_S, Session, Sessions

ROOM = Path(__file__).parent
MAX_BODY_BYTES = 4 * 1024 * 1024 + 64 * 1024
"""A stack's file, and what comes with it."""
PING_S = 15.0
SMALL_BYTES = 4096
"""What is sent as it is."""
STATIC = ("page.css", "page.js", "logs.js", "shell.js", "deploy.js")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
OPEN = ("/ui/signin", *(f"/ui/static/{name}" for name in STATIC))
"""What is answered to anybody: nothing of the cluster."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_STATUS: dict[type[SwarmliteError], int] = {
    PermissionDenied: 403, NotFound: 404, InvalidSpec: 400, Unavailable: 503,
}  # fmt: skip


class Server:
    """Answers; `app` is aiohttp's."""

    def __init__(self, paths: Paths, cluster: Cluster, sessions: Sessions) -> None:
        """Nothing is asked yet."""
        self.cluster, self.paths = cluster, paths
        self._sessions = sessions
        self._pages = Environment(
            loader=FileSystemLoader(ROOM / "templates"), autoescape=True, undefined=StrictUndefined
        )
        self.live = Live(cluster, self._picture)
        self.tunnels = paths.run_dir / "ui"

    def app(self) -> web.Application:
        """With every route of the page."""
        from swarmlite.ui.lines import LogPages
        from swarmlite.ui.nodes import NodePages
        from swarmlite.ui.objects import ObjectPages
        from swarmlite.ui.pages import Pages
        from swarmlite.ui.services import ServicePages
        from swarmlite.ui.stacks import StackPages
        from swarmlite.ui.tasks import TaskPages

        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._guarded])
        app.router.add_get("/ui", _home)
        app.router.add_get("/ui/signin", self._sign_in)
        app.router.add_post("/ui/signout", self._sign_out)
        app.router.add_get("/ui/live", self._stream)
        app.router.add_static("/ui/static", ROOM / "static")
        pages: Any
        for pages in (
            Pages, ServicePages, NodePages, TaskPages, LogPages, ObjectPages, StackPages
        ):  # fmt: skip
            pages(self).add_to(app.router)
        return app

    # answers
    def page(
        self, template: str, session: Session | None, status: int = 200, /, **said: Any
    ) -> web.Response:
        """A template, everything in it escaped."""
        text = self._pages.get_template(template).render(session=session, **said)
        answer = web.Response(text=text, status=status, content_type="text/html")
        if len(text) > SMALL_BYTES:
            answer.enable_compression()
        return answer

    async def _picture(self) -> str:
        template = self._pages.get_template("picture.html")
        try:
            return template.render(view=await self.cluster.overview(LOOKING), error="")
        except SwarmliteError as error:
            return template.render(view=None, error=f"The manager does not answer: {error}")

    def failed(self, session: Session | None, error: SwarmliteError) -> web.Response:
        """What went wrong, in words."""
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 409)
        return self.page(
            "message.html", session, status, title="This did not work", text=str(error)
        )

    # who asks
    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        session: Session | None = None
        try:
            if request.path not in OPEN:
                session = request["session"] = await self.who(request)
                if request.method == "POST":
                    await _check_token(request, session)
            if request.method == "POST":  # what is begun is done to its end, whoever goes
                answer = await asyncio.shield(asyncio.ensure_future(handler(request)))
            else:
                answer = await handler(request)
        except SwarmliteError as error:
            answer = self.failed(session, error)
        except ConnectionError:
            raise asyncio.CancelledError from None  # nobody is left to be told
        except web.HTTPRequestEntityTooLarge:
            answer = self.page(
                "message.html", session, 413, title="This did not work",
                text="more was sent than a form may have: a stack's file has at most 4 MiB",
            )  # fmt: skip
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        if not answer.prepared:
            answer.headers.update(HEADERS)
            if "cookie" in request:
                set_cookie(answer, request["cookie"])
        return answer

    async def who(self, request: web.Request) -> Session:
        """Raises PermissionDenied for who is not signed in.

        Who shows a certificate and no cookie gets one with the answer.
        """
        value = request.get("cookie") or request.cookies.get(COOKIE)
        session = self._sessions.get(value)
        user_id = _user_of(request)
        if session is None and user_id:
            session = Session("reader", user_id, user_id)
            value = request["cookie"] = self._sessions.keep(session)
        if session is None:
            raise PermissionDenied(
                "Not signed in. `swarmlite ui open` on a manager prints a link that signs in once;"
                " a user's certificate of this cluster does too."
            )
        if session.user_id:
            session.role = await self.cluster.role_of(session.user_id)
            if not session.role:
                self._sessions.end(value)
                request.pop("cookie", None)
                raise PermissionDenied(
                    "this user was removed from the cluster, or the certificate has ended"
                )
        return session

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        session = self._sessions.redeem(request.query.get("token", ""))
        answer = web.Response(status=303, headers={"Location": "/ui/"})
        set_cookie(answer, self._sessions.keep(session))
        return answer

    async def _sign_out(self, request: web.Request) -> web.StreamResponse:
        self._sessions.end(request.cookies.get(COOKIE))
        answer = self.page("message.html", None, title="Signed out", text="Good bye.")
        answer.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return answer

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await answer.prepare(request)
        with self.live.viewed() as before:
            number: int | None = before
            while number is not None:
                number = await self._next(request, answer, number)
        return answer

    async def _next(
        self, request: web.Request, answer: web.StreamResponse, number: int
    ) -> int | None:
        """Send the picture after this one, or that there is none yet; None for who may no more."""
        try:
            async with asyncio.timeout(PING_S):
                await self.live.after(number)
        except TimeoutError:
            await answer.write(b": still there\n\n")
        try:
            await self.who(request)
        except PermissionDenied:
            await answer.write(b"event: end\ndata: signed out\n\n")
            return None
        except SwarmliteError:
            pass  # the picture says so
        latest = self.live.number
        if latest > number:
            await answer.write(self.live.event)
        return latest


async def _home(request: web.Request) -> web.StreamResponse:
    return web.Response(status=303, headers={"Location": "/ui/"})


def set_cookie(answer: web.StreamResponse, value: str) -> None:
    """Sent back to this origin only, and shown to no script."""
    answer.set_cookie(
        COOKIE, value, path="/", secure=True, httponly=True, samesite="Strict",
        max_age=int(SESSION_S),
    )  # fmt: skip


async def _check_token(request: web.Request, session: Session) -> None:
    fields: Mapping[str, Any] = await request.post()
    token = fields.get("token", "")
    if not isinstance(token, str) or not session.knows(token):
        raise PermissionDenied("this form is not of this page or is too old: load the page again")


def _user_of(request: web.Request) -> str:
    """The user whom the client's certificate names, if it showed one: TLS checked its signature."""
    tls = request.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    if not der:
        return ""
    subject, _ = subject_of(ssl.DER_cert_to_PEM_cert(der).encode())
    return subject.node_id if subject.role in USERS else ""
