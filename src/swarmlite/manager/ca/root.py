"""The root CA: a P-256 key and a self-signed certificate of 20 years, and what it signs.

Names in a node's certificate: CN node id, OU role, O cluster id; SANs the node id, the role,
localhost, 127.0.0.1 and the node's advertised address. All forms are PEM.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swarmlite.errors import InvalidSpec
from swarmlite.identity.issuers import key_id_of
from swarmlite.identity.subjects import MANAGER as MANAGER
from swarmlite.identity.subjects import USERS as USERS
from swarmlite.identity.subjects import WORKER as WORKER
from swarmlite.identity.subjects import Subject as Subject
from swarmlite.identity.subjects import subject_of as subject_of
from swarmlite.ids import new_id

ROOT_LIFE = timedelta(days=20 * 365)
NODE_LIFE = timedelta(days=90)
MINIMUM_LIFE = timedelta(hours=1)
BACKDATE = timedelta(hours=1)
"""Certificates begin in the past, for hosts whose clocks are behind."""


@dataclass(frozen=True)
class RootCA:
    """The root's certificate and key, PEM."""

    cert: bytes
    key: bytes

    @classmethod
    def create(cls) -> RootCA:
        """A new root."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"swarmlite-ca {new_id()}")])
        cert = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(now + ROOT_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        return cls(cert.public_bytes(serialization.Encoding.PEM), _private_pem(key))

    @classmethod
    def given(cls, cert: bytes, key: bytes) -> RootCA:
        """A root that somebody brings; without `key` an external CA signs for it.

        Raises InvalidSpec for what no cluster can be certified by.
        """
        root = _checked_root(cert)
        if key:
            _checked_root_key(root, key)
        return cls(root.public_bytes(serialization.Encoding.PEM), key)

    def cross_sign(self, other: bytes) -> bytes:
        """Another root's certificate, signed by this one: an intermediate of it."""
        own, new = (x509.load_pem_x509_certificate(cert) for cert in (self.cert, other))
        key = serialization.load_pem_private_key(self.key, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        return (
            x509.CertificateBuilder()
            .subject_name(new.subject)
            .issuer_name(own.subject)
            .public_key(new.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(new.not_valid_before_utc)
            .not_valid_after(min(new.not_valid_after_utc, own.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier(key_id_of(new)), False)
            .add_extension(_issued_by(own), False)
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    def issue(self, csr: bytes, subject: Subject, life: timedelta = NODE_LIFE) -> bytes:
        """A certificate for the request's public key; all of its names are `subject`'s.

        Raises InvalidSpec for a request that is malformed, not signed by its own key, or whose
        key is no P-256 key.
        """
        ca = x509.load_pem_x509_certificate(self.cert)
        ca_key = serialization.load_pem_private_key(self.key, None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        public_key = checked_request(csr)
        now = datetime.now(UTC)
        cert = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(ca.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(now + max(life, MINIMUM_LIFE))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_purposes(subject)), False)
            .add_extension(x509.SubjectAlternativeName(_alternatives(subject)), False)
            .add_extension(_issued_by(ca), False)
            .sign(ca_key, hashes.SHA256())
        )
        return cert.public_bytes(serialization.Encoding.PEM)


def new_request(common_name: str = "swarmlite-node") -> tuple[bytes, bytes]:
    """A new key and a certificate request for it: (key, csr)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return _private_pem(key), csr.public_bytes(serialization.Encoding.PEM)


def life_of(cert: bytes) -> tuple[datetime, datetime]:
    """When a certificate begins and ends, UTC."""
    parsed = x509.load_pem_x509_certificate(cert)
    return parsed.not_valid_before_utc, parsed.not_valid_after_utc


def _issued_by(root: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier(key_id_of(root), None, None)


def _checked_root(cert: bytes) -> x509.Certificate:
    try:
        root = x509.load_pem_x509_certificate(cert)
    except ValueError as error:
        raise InvalidSpec("--ca-cert: not a certificate in PEM form") from error
    try:
        constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = x509.BasicConstraints(ca=False, path_length=None)
    if not constraints.ca:
        raise InvalidSpec("--ca-cert: the certificate is not a CA's (CA:TRUE)")
    now = datetime.now(UTC)
    if not root.not_valid_before_utc <= now < root.not_valid_after_utc - MINIMUM_LIFE:
        raise InvalidSpec(
            f"--ca-cert: the certificate holds from {root.not_valid_before_utc:%Y-%m-%d %H:%M} to"
            f" {root.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and not now"
        )
    try:
        root.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise InvalidSpec(
            "--ca-cert: the certificate is an intermediate: give a root, signed by itself"
        ) from error
    return root


def _checked_root_key(root: x509.Certificate, pem: bytes) -> None:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise InvalidSpec("--ca-key: not a private key in PEM form, unencrypted") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise InvalidSpec("--ca-key: expected an ECDSA or an RSA key")
    if key.public_key() != root.public_key():
        raise InvalidSpec("--ca-key: the key is not the one of --ca-cert")


def checked_request(csr: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a request. Raises InvalidSpec as RootCA.issue."""
    try:
        request = x509.load_pem_x509_csr(csr)
    except ValueError as error:
        raise InvalidSpec("the certificate request is not PEM of a CSR") from error
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise InvalidSpec("the certificate request's key must be of P-256")
    if not request.is_signature_valid:
        raise InvalidSpec("the certificate request is not signed by its own key")
    return key


def _name(subject: Subject) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, subject.cluster_id),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, subject.role),
            x509.NameAttribute(NameOID.COMMON_NAME, subject.node_id),
        ]
    )


def _purposes(subject: Subject) -> list[x509.ObjectIdentifier]:
    """Nodes serve and call; users only call."""
    client = [ExtendedKeyUsageOID.CLIENT_AUTH]
    return client if subject.role in USERS else [ExtendedKeyUsageOID.SERVER_AUTH, *client]


def _alternatives(subject: Subject) -> Sequence[x509.GeneralName]:
    if subject.role in USERS:
        return [x509.DNSName(subject.node_id)]
    addresses = dict.fromkeys(["127.0.0.1", *subject.addresses])
    return [
        *(x509.DNSName(name) for name in (subject.node_id, subject.role, "localhost")),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
    ]


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
