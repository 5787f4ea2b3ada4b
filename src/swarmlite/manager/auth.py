"""Who calls, and may they: one interceptor for every RPC.

Each RPC names its roles as a method option (options.proto); one that names none, or that nobody
knows, is refused to everyone. The caller's role is the OU of its certificate, LOCAL on the unix
socket, ANYONE with the well-known certificate. A removed node is refused at each call, whatever
its certificate says, and a manager that was demoted counts as a worker from then on.
Users' certificates name their role too; an RPC names the least of those roles that may call it, and
a user who was removed is refused, and loses the streams that are open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool

from swarmlite import rpc
from swarmlite.errors import InvalidSpec, PermissionDenied, Unavailable
from swarmlite.identity import subjects
from swarmlite.proto import options_pb2
from swarmlite.proto.types_pb2 import NodeRole

from .ca import anyone, root
from .store.tables import Tables


@dataclass(frozen=True)
class Caller:
    """Whose call this is."""

    role: int
    """options_pb2.Role"""
    node_id: str = ""
    """Or a user's id."""
    cluster_id: str = ""
    expires: datetime | None = None
    address: str = ""
    """The IP address that the call comes from; empty on a unix socket."""


LOCAL = Caller(options_pb2.ROLE_LOCAL)
ANYONE = Caller(options_pb2.ROLE_ANYONE)
_caller: ContextVar[Caller] = ContextVar("swarmlite_caller")
_ROLES = {
    root.MANAGER: options_pb2.ROLE_MANAGER,
    root.WORKER: options_pb2.ROLE_WORKER,
    subjects.ADMIN: options_pb2.ROLE_ADMIN,
    subjects.OPERATOR: options_pb2.ROLE_OPERATOR,
    subjects.READER: options_pb2.ROLE_READER,
}
USERS = (options_pb2.ROLE_READER, options_pb2.ROLE_OPERATOR, options_pb2.ROLE_ADMIN)
"""Roles of users, the least first: each may do what those before it may."""


def caller(context: Any = None) -> Caller:
    """Whose call is being served by this task. `context` is not needed, and taken for clarity."""
    return _caller.get()


@lru_cache(maxsize=4096)
def _of_certificate(pem: bytes) -> Caller:
    if pem.strip() == anyone.CERT.strip():
        return ANYONE
    subject, expires = root.subject_of(pem)
    role = _ROLES.get(subject.role)
    if role is None:
        raise InvalidSpec("the certificate names no role of a node")
    return Caller(role, subject.node_id, subject.cluster_id, expires)


@lru_cache(maxsize=1024)
def roles_of(method: str) -> frozenset[int]:
    """Who may call "/package.Service/Method"; nobody, when it states nothing or is unknown."""
    service_name, _, method_name = method.strip("/").partition("/")
    try:
        service = descriptor_pool.Default().FindServiceByName(service_name)
        found = service.methods_by_name[method_name]
    except KeyError:
        return frozenset()
    options = found.GetOptions()
    least = options.Extensions[options_pb2.least]
    users = USERS[USERS.index(least) :] if least in USERS else ()
    return frozenset({*options.Extensions[options_pb2.roles], *users}) - {options_pb2.ROLE_NONE}


def identify(context: Any, view: Tables) -> Caller:
    """The caller of a TLS connection. Raises PermissionDenied for certificates that do not hold."""
    pem = context.auth_context().get("x509_pem_cert")
    if not pem:
        raise PermissionDenied("a certificate of this cluster is needed")
    try:
        who = _of_certificate(pem[0])
    except InvalidSpec as error:
        raise PermissionDenied(str(error)) from error
    who = replace(who, address=rpc.peer_address(context))
    return who if who.role == options_pb2.ROLE_ANYONE else _checked(who, view)


def _checked(who: Caller, view: Tables) -> Caller:
    # The handshake looked at the dates, but a connection can outlive its certificate.
    if who.expires is not None and who.expires < datetime.now(UTC):
        raise PermissionDenied("the certificate has expired")
    cluster = view.cluster
    if cluster is None:
        raise Unavailable("this manager does not know its cluster yet")
    if who.cluster_id != cluster.id:
        raise PermissionDenied("the certificate is of another cluster")
    if who.role in USERS:
        known = cluster.users.get(who.node_id)
        if known is None or known.role not in USERS:
            raise PermissionDenied(f"user {who.node_id} was removed from the cluster: log in again")
        # What the managers say, should they ever change it, counts and not the certificate.
        return replace(who, role=known.role)
    if who.node_id in cluster.blacklisted_certificates:
        raise PermissionDenied(f"node {who.node_id} was removed from the cluster")
    node = view.nodes.get(who.node_id)
    if node is not None and node.spec.desired_role == NodeRole.WORKER:
        return replace(who, role=options_pb2.ROLE_WORKER)
    return who


class Authorize(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Refuses calls whose caller's role the RPC does not name, and sets `caller()` for the rest."""

    def __init__(self, view: Callable[[], Tables], *, local: bool) -> None:
        """`local`: the server listens only on the unix socket, which only root can open."""
        self._view = view
        self._local = local

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        allowed = roles_of(method)

        @asynccontextmanager
        async def guard(context: Any) -> AsyncIterator[None]:
            def check(who: Caller) -> None:
                if not may_call(who, allowed):
                    raise PermissionDenied(
                        f"{_name(who)} may not call {method.rpartition('/')[2]}{_hint(allowed)}"
                    )

            who = _lowered(context) if self._local else identify(context, self._view())
            check(who)
            _caller.set(who)
            if self._local or who.role not in USERS or not handler.response_streaming:
                yield
                return
            # A user's shell or log may be open for days.
            async with _while_it_holds(lambda: check(_checked(who, self._view()))):
                yield

        return rpc.guarded(handler, guard)


RECHECK_S = 1.0


@asynccontextmanager
async def _while_it_holds(check: Callable[[], None]) -> AsyncIterator[None]:
    """Ends what runs inside by what `check` raises, PermissionDenied; asked each second."""
    task = asyncio.current_task()
    assert task is not None
    refused: list[PermissionDenied] = []

    async def look() -> None:
        while not refused:
            await asyncio.sleep(RECHECK_S)
            try:
                check()
            except PermissionDenied as error:
                refused.append(error)
            except Unavailable:
                continue
        task.cancel()

    watcher = asyncio.create_task(look())
    try:
        yield
    except asyncio.CancelledError:
        if not refused:
            raise
        task.uncancel()
        raise refused[0] from None
    finally:
        watcher.cancel()


ACT_AS = "act-as"
"""Metadata by which root of this host calls as a user who may less: the page, for who is there."""
_ACTED = dict(zip(("reader", "operator", "admin"), USERS, strict=True))


def _lowered(context: Any) -> Caller:
    for key, value in context.invocation_metadata() or ():
        if key == ACT_AS:
            if value not in _ACTED:
                raise PermissionDenied(f"{ACT_AS}: unknown kind of user")
            return Caller(_ACTED[value])
    return LOCAL


def reads_only() -> bool:
    """Whether the caller is a user who may change nothing, and is shown no secrets."""
    return _caller.get(LOCAL).role == options_pb2.ROLE_READER


def is_user() -> bool:
    """Whether the caller is neither a node nor on this host."""
    return _caller.get(LOCAL).role in USERS


def below_admin() -> bool:
    """Whether the caller is a user to whom the keys of the house are not given."""
    return _caller.get(LOCAL).role in USERS[:-1]


def may_call(who: Caller, allowed: Iterable[int]) -> bool:
    """Whether `who` is of one of these roles; ANYONE admits every certificate."""
    allowed = set(allowed)
    return who.role in allowed or options_pb2.ROLE_ANYONE in allowed


def _name(who: Caller) -> str:
    names: dict[int, str] = {
        options_pb2.ROLE_ANYONE: "a caller without a certificate",
        options_pb2.ROLE_WORKER: "a worker",
        options_pb2.ROLE_MANAGER: "a manager",
        options_pb2.ROLE_ADMIN: "an admin",
        options_pb2.ROLE_OPERATOR: "an operator",
        options_pb2.ROLE_READER: "a reader",
    }
    return names.get(who.role, "a local caller")


def _hint(allowed: Iterable[int]) -> str:
    if not allowed:
        return ": it states no roles"
    least = next((role for role in USERS if role in allowed), None)
    return "" if least is None else f": that takes {_name(Caller(least))}"
