"""Whom a certificate names: CN node or user id, OU role, O cluster id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from swarmlite.errors import InvalidSpec

MANAGER = "swarm-manager"
WORKER = "swarm-worker"
ADMIN, OPERATOR, READER = "swarm-admin", "swarm-operator", "swarm-reader"
USERS = frozenset({ADMIN, OPERATOR, READER})


@dataclass(frozen=True)
class Subject:
    """Whom a certificate is for."""

    node_id: str
    role: str
    """MANAGER, WORKER or one of USERS."""
    cluster_id: str
    addresses: tuple[str, ...] = ()
    """IP addresses beside 127.0.0.1 that the node is reached at."""


def subject_of(cert: bytes) -> tuple[Subject, datetime]:
    """Whom a certificate (PEM) names, and when it expires. Raises InvalidSpec for another's."""
    try:
        parsed = x509.load_pem_x509_certificate(cert)
        names = {
            oid: parsed.subject.get_attributes_for_oid(oid)[0].value
            for oid in (
                NameOID.COMMON_NAME,
                NameOID.ORGANIZATIONAL_UNIT_NAME,
                NameOID.ORGANIZATION_NAME,
            )
        }
    except (ValueError, IndexError) as error:
        raise InvalidSpec("the certificate is not one of a node") from error
    subject = Subject(
        str(names[NameOID.COMMON_NAME]),
        str(names[NameOID.ORGANIZATIONAL_UNIT_NAME]),
        str(names[NameOID.ORGANIZATION_NAME]),
    )
    return subject, parsed.not_valid_after_utc
