"""Stacks are deployed and removed: a file, pasted or dropped, with what it would do beside it.

What is deployed is what was shown: where the cluster changed since, it is shown again first.
"""

from __future__ import annotations

import hashlib
from typing import Any

from aiohttp import web
from aiohttp.web_request import FileField

from swarmlite.errors import Conflict, InvalidSpec, NotFound, PermissionDenied
from swarmlite.proto.control_pb2 import Filter, ListRequest
from swarmlite.stack.tree import MAX_BYTES
from swarmlite.stack.world import NAMESPACE_LABEL
from swarmlite.ui.commands import Commands, Ran
from swarmlite.ui.objects import stack_path
from swarmlite.ui.server import Server
from swarmlite.ui.signing import Session

OPTIONS = ("--only-this-file", "-c", "-")
MAX_NAME = 256
KINDS = ("Services", "Networks", "Secrets", "Configs")
EXAMPLE = """services:
  web:
    image: nginx
    ports: ["8080:80"]
    deploy:
      replicas: 2
"""


class StackPages:
    """Handlers; `request["session"]` is who is signed in."""

    def __init__(self, server: Server) -> None:
        """`server` renders, and has the cluster."""
        self._server, self._cluster = server, server.cluster
        self._commands = Commands(server.paths)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Every page."""
        router.add_get("/ui/deploy", self.form)
        router.add_post("/ui/deploy/plan", self.plan)
        router.add_post("/ui/deploy/do", self.do)
        router.add_post("/ui/stack/{name}/plan", self.removal)
        router.add_post("/ui/stack/{name}/do", self.remove)

    async def form(self, request: web.Request) -> web.Response:
        """An empty one."""
        return self._page(_deploys(request), "", EXAMPLE)

    async def plan(self, request: web.Request) -> web.Response:
        """What a deployment would do, or what is wrong with the file, line by line."""
        session = _deploys(request)
        name, file = await _asked(request)
        return self._shown(session, name, file, await self._diff(session, name, file))

    async def do(self, request: web.Request) -> web.StreamResponse:
        """Deploy what was shown."""
        session = _deploys(request)
        name, file = await _asked(request)
        fields = await request.post()
        ran = await self._diff(session, name, file)
        if ran.status or _stamp(ran, file) != fields.get("stamp"):
            return self._shown(
                session, name, file, ran, "The cluster or the file changed since it was shown."
            )
        words = ["stack", "deploy", "--detach", *OPTIONS, "--", name]
        done = await self._commands.run(session, words, file)
        if done.status:
            return self._shown(session, name, file, done, "Not all of it was done.", 409)
        return web.Response(status=303, headers={"Location": stack_path(name)})

    async def _diff(self, session: Session, name: str, file: bytes) -> Ran:
        words = ["stack", "diff", *OPTIONS, "--", name]
        return await self._commands.run(session, words, file)

    def _shown(
        self, session: Session, name: str, file: bytes, ran: Ran, note: str = "", status: int = 200
    ) -> web.Response:
        changes = ran.status == 0 and ran.output.strip() != "Nothing would change."
        said = {
            "note": note, "plan": ran.output, "warnings": ran.errors.splitlines(),
            "stamp": _stamp(ran, file) if changes else "",
        }  # fmt: skip
        if ran.status and not note:
            status = 400
        return self._page(session, name, file.decode(errors="replace"), status, **said)

    def _page(
        self, session: Session, name: str, file: str, status: int = 200, **said: Any
    ) -> web.Response:
        nothing = {"note": "", "plan": "", "warnings": [], "stamp": ""}
        return self._server.page(
            "deploy.html", session, status, name=name, file=file, **(nothing | said)
        )

    # removal
    async def removal(self, request: web.Request) -> web.Response:
        """What would go."""
        session = _deploys(request)
        name = request.match_info["name"]
        lines = await self._members(session, name)
        return self._server.page(
            "plan.html", session, name=name, what="remove",
            lines=[*lines, "volumes stay"], fields={"stamp": _digest("\n".join(lines).encode())},
            action=f"{stack_path(name)}/do", back=stack_path(name),
        )  # fmt: skip

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """Remove what was shown. Raises Conflict where it is another stack by now."""
        session = _deploys(request)
        name = request.match_info["name"]
        _check_name(name)
        fields = await request.post()
        lines = await self._members(session, name)
        if _digest("\n".join(lines).encode()) != fields.get("stamp"):
            raise Conflict("somebody else changed this stack meanwhile: look at it again")
        ran = await self._commands.run(session, ["stack", "rm", "--", name])
        if ran.status:
            raise Conflict(ran.errors.strip() or "not all of it was removed")
        return web.Response(status=303, headers={"Location": "/ui/stacks"})

    async def _members(self, session: Session, name: str) -> list[str]:
        """Raises NotFound for a stack of nothing."""
        asked = ListRequest(filters=[Filter(key="label", values=[f"{NAMESPACE_LABEL}={name}"])])
        lines = []
        for kind in KINDS:
            found = getattr(await self._cluster.call(session, f"List{kind}", asked), kind.lower())
            word = kind.lower().removesuffix("s")
            lines += sorted(f"{word} {each.spec.annotations.name}" for each in found)
        if not lines:
            raise NotFound(f"there is no stack {name}")
        return lines


def _deploys(request: web.Request) -> Session:
    """Who asks. Raises PermissionDenied for a reader, before anything is run for them."""
    session: Session = request["session"]
    if not session.may("operator"):
        raise PermissionDenied("a stack is deployed and removed by an operator")
    return session


async def _asked(request: web.Request) -> tuple[str, bytes]:
    """The stack's name, and its file as it was typed or sent. Raises InvalidSpec."""
    fields = await request.post()
    name, text, sent = str(fields.get("name", "")).strip(), fields.get("file"), fields.get("sent")
    if not name:
        raise InvalidSpec("a stack has a name: it is missing")
    _check_name(name)
    data = str(text or "").encode()
    if isinstance(sent, FileField) and sent.filename:
        data = sent.file.read(MAX_BYTES + 1)
    return name, data.replace(b"\r\n", b"\n")  # as forms send every line's end


def _check_name(name: str) -> None:
    """Raise InvalidSpec for what cannot be a word of a command; what a stack is called, it says."""
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidSpec(f"a stack's name: expected up to {MAX_NAME} printable characters")


def _stamp(ran: Ran, file: bytes) -> str:
    """Of what was shown, and for which file."""
    return _digest(ran.output.encode() + b"\0" + file)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
