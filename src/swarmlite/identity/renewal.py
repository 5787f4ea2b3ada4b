"""Keeps the identity fresh: a new certificate between 50 and 80% of the old one's life, or at once
when the managers say that this node has another role; and the roots that they trust.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import random
from collections.abc import Callable

import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from swarmlite import rpc
from swarmlite.errors import SwarmliteError
from swarmlite.identity.files import Identity
from swarmlite.identity.issuers import issuer_of
from swarmlite.identity.node import MANAGER, WORKER
from swarmlite.proto.ca_pb2 import IssueNodeCertificateRequest, IssueNodeCertificateResponse
from swarmlite.proto.ca_pb2_grpc import CAStub
from swarmlite.proto.dispatcher_pb2 import SessionInfo
from swarmlite.proto.types_pb2 import NodeRole

log = logging.getLogger(__name__)

RETRY_S = 60.0
ROLE_RETRY_S = 1.0
CHECK_S = 3600.0
SPREAD_S = 3.0
"""Over which nodes renew that learn of it at the same moment: their root is rotated, or all of them
were off while it became due.
"""
CALL_TIMEOUT_S = 15.0


class Renewal:
    """One loop; what fails (no manager, a full disk) leaves the old identity and is tried again."""

    def __init__(
        self,
        identity: Identity,
        next_manager: Callable[[], str],
        channel: Callable[[str], grpc.aio.Channel],
        renewed: Callable[[], None],
        retry_s: float = RETRY_S,
        spread_s: float = SPREAD_S,
    ) -> None:
        """`next_manager` is the address to ask; `channel` connects to it as this node.

        `renewed` is called once connections have to be made again: other roots are trusted, or the
        certificate is of another root or role. A certificate that only lasts longer is for those
        that come; what stands goes on with the one before.
        """
        self._identity = identity
        self._next_manager = next_manager
        self._channel = channel
        self._renewed = renewed
        self._retry_s = retry_s
        self._spread_s = spread_s
        self._said: SessionInfo | None = None
        self._heard = asyncio.Event()

    def heard(self, info: SessionInfo) -> None:
        """What a manager said at the begin of a session, or when it changed. Returns at once."""
        self._said = info
        self._heard.set()

    @property
    def pending(self) -> bool:
        """Whether something that a manager said is yet to be followed."""
        return self._said is not None

    async def run(self) -> None:
        """Ends only by cancellation."""
        due: datetime.datetime | None = None
        while True:
            try:
                due = due or self.due()
                if self._said is not None:
                    await self._follow(self._said)
                if datetime.datetime.now(datetime.UTC) >= due:
                    await self.renew()
                    due = None
                    continue
                await self._until(due)
            except (SwarmliteError, OSError, ValueError) as error:  # OSError: a full disk, say
                log.warning("certificate not renewed error=%s", error)
                # Who is demoted waits for its member of etcd to be taken out.
                delay_s = ROLE_RETRY_S if self.pending else self._retry_s
                await asyncio.sleep(min(delay_s, self._retry_s))

    async def _follow(self, said: SessionInfo) -> None:
        """Make the cluster's word this node's. Raises as `renew`, and is then done again."""
        if self._identity.trust(said.ca_cert):
            log.info("the cluster's roots have changed")
            self._renewed()
        if said.HasField("node"):
            desired, known = role_of(said.node.spec.desired_role), self._identity.read()
            # Becoming a manager takes a member of etcd too: that is the daemon's to do.
            self._identity.promote(desired == MANAGER, known.hindrance if known else "")
            if said.issuer and said.issuer != issuer_of(self._identity.certificates.certificate):
                # Many hear of it at once.
                await asyncio.sleep(random.uniform(0, self._spread_s))
                await self.renew()
            if desired == WORKER and (self._certified_as() == MANAGER or (known and known.manager)):
                await self.renew(follow_role=True)
        if self._said is said:
            self._said = None

    async def _until(self, due: datetime.datetime) -> None:
        """Until then, an hour at most (clocks step), or until a manager has said something."""
        delay_s = (due - datetime.datetime.now(datetime.UTC)).total_seconds()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(delay_s, 0.0), CHECK_S)):
                await self._heard.wait()
        self._heard.clear()

    async def renew(self, follow_role: bool = False) -> None:
        """A new key and certificate, now; with `follow_role` of the role that is desired of this
        node. Raises SwarmliteError, OSError; the old one stays.
        """
        key, before = ec.generate_private_key(ec.SECP256R1()), self._certificate()
        response = await self._issue(
            IssueNodeCertificateRequest(csr=_request(key), follow_role=follow_role)
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._identity.replace_certificate(
            key=pem, certificate=response.certificate, worker=role_of(response.role) == WORKER
        )
        log.info("certificate renewed node=%s", response.node_id)
        if role_of(response.role) == WORKER and self._identity.change_role(WORKER):
            log.warning("this node is no manager any more node=%s", response.node_id)
        if self._certificate() != before:
            self._renewed()

    def _certificate(self) -> tuple[str, str]:
        """What others tell this node's certificate by: its root, and the role in it."""
        return issuer_of(self._identity.certificates.certificate), self._certified_as()

    async def _issue(self, request: IssueNodeCertificateRequest) -> IssueNodeCertificateResponse:
        address = self._next_manager()
        channel = self._channel(address)
        try:
            with rpc.translated(f"manager {address}"):
                response: IssueNodeCertificateResponse = await CAStub(channel).IssueNodeCertificate(
                    request, timeout=CALL_TIMEOUT_S
                )
                return response
        finally:
            await channel.close()

    def _certified_as(self) -> str:
        """The role in the certificate: a manager's also where a promotion was taken back half-way.
        Raises OSError, ValueError.
        """
        certificate = x509.load_pem_x509_certificate(self._identity.certificates.certificate)
        units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        return MANAGER if any(unit.value == "swarm-manager" for unit in units) else WORKER

    def due(self) -> datetime.datetime:
        """When to renew the certificate that is in place: see `renewal_at`. Raises OSError,
        ValueError.
        """
        certificate = x509.load_pem_x509_certificate(self._identity.certificates.certificate)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return renewal_at(begin, end, datetime.datetime.now(datetime.UTC), self._spread_s)


def renewal_at(
    begin: datetime.datetime, end: datetime.datetime, now: datetime.datetime, spread_s: float
) -> datetime.datetime:
    """By chance between 50 and 80% of a certificate's life; where that is over, within `spread_s`
    seconds from now.
    """
    planned = begin + (end - begin) * random.uniform(0.5, 0.8)
    return (
        planned if planned > now else now + datetime.timedelta(seconds=random.uniform(0, spread_s))
    )


def role_of(role: NodeRole.ValueType) -> str:
    """node.json's word for a role."""
    return MANAGER if role == NodeRole.MANAGER else WORKER


def _request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A CSR; the CA knows the name and role from the certificate of the connection."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-node")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
