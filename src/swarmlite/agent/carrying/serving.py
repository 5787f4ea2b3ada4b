"""The Blobs service: images of this node, for nodes that a manager gave a ticket for them."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import grpc.aio

from swarmlite import rpc
from swarmlite.agent.carrying.spreading import Spread
from swarmlite.errors import InvalidSpec, NotFound, PermissionDenied
from swarmlite.identity import tickets
from swarmlite.identity.certificates import Certificates
from swarmlite.identity.serving import server_credentials
from swarmlite.identity.subjects import MANAGER, WORKER, Subject, subject_of
from swarmlite.model.references import is_digest
from swarmlite.proto.blobs_pb2 import BlobPart, BlobPeer, FetchBlobRequest
from swarmlite.proto.blobs_pb2_grpc import BlobsServicer, add_BlobsServicer_to_server
from swarmlite.storage.images.giving import Giving

log = logging.getLogger(__name__)

PORT = 2378
WAIT_S = 3.0
"""How long what is to come here is waited for."""
MAX_TRIED = 256
Context = Any  # grpc.aio.ServicerContext; grpc ships no types


class BlobsService(BlobsServicer):
    """See blobs.proto. Managers are those that the session named last."""

    def __init__(
        self,
        giving: Giving,
        certificates: Certificates,
        managers: Callable[[], Collection[str]],
        coming_from: Callable[[str], str],
    ) -> None:
        """`coming_from` says which node a blob is on its way here from; empty where none is."""
        self._giving, self._certificates = giving, certificates
        self._managers, self._coming_from = managers, coming_from
        self._spread = Spread()

    async def Fetch(self, request: FetchBlobRequest, context: Context) -> AsyncIterator[BlobPart]:
        """See blobs.proto."""
        node_id = self._caller(context)
        image = tickets.check(request.ticket, self._certificates, node_id, self._managers())
        if not is_digest(request.digest) or request.offset < 0 or len(request.tried) > MAX_TRIED:
            raise InvalidSpec("the request is malformed")
        wait_s = WAIT_S if request.wait else 0.0
        given = await self._giving.find(image, request.digest, wait_s)
        if given.arrival is not None and self._coming_from(request.digest) == node_id:
            raise NotFound(f"blob {request.digest[:19]} comes here from node {node_id} itself")
        if others := self._spread.instead(request.digest, node_id, request.tried):
            yield BlobPart(instead=others)
            return
        addr = _joined(rpc.peer_address(context), request.port) if request.port else ""
        with self._spread.giving(request.digest, BlobPeer(node_id=node_id, addr=addr)):
            sent = 0
            try:
                yield BlobPart(size_bytes=given.size)
                async for piece in given.pieces(request.offset):
                    yield BlobPart(data=piece)
                    sent += len(piece)
            finally:
                log.info("gave a blob digest=%s node=%s bytes=%d", request.digest, node_id, sent)

    def _caller(self, context: Context) -> str:
        """The node that calls. Raises PermissionDenied for a certificate that does not hold."""
        pem = context.auth_context().get("x509_pem_cert")
        if not pem:
            raise PermissionDenied("a certificate of this cluster is needed")
        try:
            who, expires = _subject(pem[0])
            own, _ = _subject(self._certificates.certificate)
        except InvalidSpec as error:
            raise PermissionDenied(str(error)) from error
        if who.cluster_id != own.cluster_id or who.role not in (MANAGER, WORKER):
            raise PermissionDenied("the certificate is not one of this cluster's nodes")
        if expires < datetime.now(UTC):  # a connection can outlive its certificate
            raise PermissionDenied("the certificate has expired")
        return who.node_id


@asynccontextmanager
async def serving(
    service: BlobsService, certificates: Certificates, address: str, port: int = PORT
) -> AsyncIterator[int]:
    """Serve at `address` until leaving; yields the port: another one where `port` is taken."""
    server = grpc.aio.server(interceptors=[rpc.TranslateErrors()], options=rpc.SERVER_OPTIONS)
    add_BlobsServicer_to_server(service, server)
    found = 0
    for wanted in (port, 0):
        try:
            found = server.add_secure_port(
                _joined(address, wanted), server_credentials(certificates)
            )
            break
        except RuntimeError as error:
            log.warning(
                "images cannot be served address=%s port=%d error=%s", address, wanted, error
            )
    await server.start()
    try:
        yield found
    finally:
        await asyncio.shield(server.stop(0.2))


def _joined(address: str, port: int) -> str:
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return ""
    return f"[{address}]:{port}" if version == 6 else f"{address}:{port}"


@lru_cache(maxsize=1024)
def _subject(pem: bytes) -> tuple[Subject, datetime]:
    return subject_of(pem)
