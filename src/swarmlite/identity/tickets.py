"""Tickets: a manager's signed word that a node may have an image from the others, for a minute.

Who checks one needs nothing but the roots that it trusts and which nodes are managers now: so a
manager that was demoted or removed signs nothing that holds, whatever its certificate says.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.message import DecodeError

from swarmlite.errors import InvalidSpec, PermissionDenied, Unavailable
from swarmlite.identity.certificates import Certificates
from swarmlite.identity.subjects import MANAGER, Subject, subject_of
from swarmlite.proto.blobs_pb2 import ImageTicket, TicketStatement

LIFE_S = 60
SKEW_S = 60
"""Clocks of two nodes may differ by so much."""
MAX_BYTES = 16 << 10
_HASH = ec.ECDSA(hashes.SHA256())


def issue(certificates: Certificates, node_id: str, image: str, *, life_s: int = LIFE_S) -> bytes:
    """A ticket of the manager with these certificates. Raises OSError."""
    key = serialization.load_pem_private_key(certificates.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = certificates.certificate
    statement = TicketStatement(
        cluster_id=subject_of(certificate)[0].cluster_id,
        node_id=node_id,
        image=image,
        expires=int(time.time()) + life_s,
    ).SerializeToString()
    ticket = ImageTicket(
        statement=statement, signature=key.sign(statement, _HASH), certificate=certificate
    )
    return ticket.SerializeToString()


def check(
    ticket: bytes, certificates: Certificates, node_id: str, managers: Collection[str]
) -> str:
    """The image that the ticket of the node `node_id` is for.

    `managers` are the ids of those that are managers now. Raises PermissionDenied that says what
    is wrong with it, Unavailable while no managers are known.
    """
    if not managers:
        raise Unavailable("no manager has answered here yet, so nobody's ticket can be checked")
    if len(ticket) > MAX_BYTES:
        raise PermissionDenied("the ticket is too long")
    try:
        parsed = ImageTicket.FromString(ticket)
        signer, expires = subject_of(parsed.certificate)
        statement = TicketStatement.FromString(parsed.statement)
    except (DecodeError, InvalidSpec) as error:
        raise PermissionDenied("the ticket is malformed") from error
    _check_signer(parsed, signer, expires, certificates, managers)
    if statement.cluster_id != signer.cluster_id:
        raise PermissionDenied("the ticket is of another cluster")
    if statement.node_id != node_id:
        raise PermissionDenied(f"the ticket is another node's than {node_id}'s")
    now = time.time()
    if not now - SKEW_S <= statement.expires <= now + LIFE_S + SKEW_S:
        raise PermissionDenied("the ticket has expired: ask a manager again")
    return statement.image


def _check_signer(
    ticket: ImageTicket,
    signer: Subject,
    expires: datetime,
    certificates: Certificates,
    managers: Collection[str],
) -> None:
    own = subject_of(certificates.certificate)[0]
    if signer.cluster_id != own.cluster_id:
        raise PermissionDenied("the ticket is of another cluster")
    if signer.role != MANAGER or signer.node_id not in managers:
        raise PermissionDenied(f"the ticket's signer {signer.node_id} is no manager")
    if expires < datetime.now(UTC):
        raise PermissionDenied("the certificate of the ticket's signer has expired")
    certificate = x509.load_pem_x509_certificate(ticket.certificate)
    if not _of_a_root(certificate, ticket.certificate, _roots(certificates)):
        raise PermissionDenied("the ticket's signer is not of this cluster")
    key = certificate.public_key()
    try:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(ticket.signature, ticket.statement, _HASH)
    except (InvalidSignature, AssertionError) as error:
        raise PermissionDenied("the ticket's signature does not hold") from error


def _roots(certificates: Certificates) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(certificates.roots)


def _of_a_root(certificate: x509.Certificate, chain: bytes, roots: list[x509.Certificate]) -> bool:
    """Directly, or by a root that a trusted one signed: the next one, while they are rotated."""
    between = x509.load_pem_x509_certificates(chain)[1:2]
    vouched = [other for other in between if any(_issued(other, root) for root in roots)]
    return any(_issued(certificate, issuer) for issuer in [*roots, *vouched])


def _issued(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
